import os

from runtimes.manifests import Manifest, load_all


def chosen() -> list[Manifest]:
    """The core set, which is what `make test` builds, or what SANDBOX_TEST_RUNTIMES says: `all`, or names with
    commas between."""
    wanted = os.environ.get("SANDBOX_TEST_RUNTIMES") or "core"
    names = wanted.split(",")
    return [m for m in load_all() if wanted == "all" or (m.core if wanted == "core" else m.slug in names)]
