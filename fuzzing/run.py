"""Fuzzes one target in this process, guided by what it covers: `python -m fuzzing.run frames --seconds 60`.

Ends with status 77 at the first input for which something does not hold, and writes that input into --found.
"""

import argparse
import os
import sys
import uuid
from pathlib import Path

import atheris
import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
# The settings want these; no target uses a database.
os.environ.setdefault("DJANGO_SECRET_KEY", uuid.uuid4().hex)
os.environ.setdefault("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
INSTRUMENTED = ["api.ragflow", "audit.check_receipt", "executions.egress", "redaction", "runtimes", "sandboxes",
                "seccomp_profiles", "tomllib"]  # fmt: skip
LARGEST = 64 * 1024  # bytes of an input
SLOWEST_S = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of inputs; new ones are added")
    parser.add_argument("--found", type=Path, required=True, help="folder for an input that is a finding")
    options = parser.parse_args()
    with atheris.instrument_imports(include=INSTRUMENTED):
        django.setup()
        from fuzzing.targets import TARGETS
    target = TARGETS[options.target]
    for folder in (options.corpus, options.found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (options.corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(
        [sys.argv[0], str(options.corpus), f"-max_total_time={options.seconds}", f"-max_len={LARGEST}",
         f"-timeout={SLOWEST_S}", f"-artifact_prefix={options.found}/{target.name}-", "-print_final_stats=1",
         "-verbosity=0"],
        target.function,
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
