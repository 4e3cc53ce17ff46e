"""Run pip as if in the chosen image: with its environment markers, and with what is installed there.

pip chooses wheels by --platform, --abi and --python-version, but reads markers from the Python that it runs in.
"""

import glob
import json
import sys

with open("/fetch/job.json") as file:
    job = json.load(file)["pip"]
# Started with -S: nothing that is installed here counts. The folder holds the metadata of what is installed there.
sys.path[:0] = ["/fetch/installed", *glob.glob("/usr/share/python-wheels/pip-*.whl")]

from pip._vendor.packaging import markers  # noqa: E402

markers.default_environment = lambda: dict(job["markers"])

from pip._internal.cli.main import main  # noqa: E402

sys.exit(main())
