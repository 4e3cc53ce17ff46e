"""Python's own tests, module by module, plainly and through the platform."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from scripts.setup import images
from scripts.setup.certificates import build_secrets
from tests.fidelity import harness, plain, through
from tests.fidelity.cases import Case
from tests.fidelity.outcome import Outcome, differences

FOLDER = Path(__file__).parent
TAG = "sandbox-platform/fidelity-suite:latest"
PROGRAM = (FOLDER / "program.py").read_text(encoding="utf-8")
MODULES = (FOLDER / "modules.txt").read_text(encoding="utf-8").split()
SECONDS = 60.0  # a module
OUTCOMES = "outcomes.txt"


def build(runtime_image: str) -> str:
    """Build the image with the tests, unless it is up to date, and return its name."""
    image = images.Image(
        "of Python's own tests",
        TAG,
        FOLDER / "Dockerfile",
        FOLDER,
        (FOLDER / "Dockerfile",),
        (f"IMAGE={runtime_image}",),
    )
    with build_secrets() as secrets:
        images.build(image, images.inspect(runtime_image, "{{.Id}}"), secrets)
    return TAG


def cases(only: str = "") -> list[Case]:
    return [
        Case("python", name, PROGRAM.replace("MODULE", name), seconds=SECONDS, compare=("end", "files"))
        for name in MODULES
        if only in name
    ]


def outcomes_only(outcome: Outcome) -> Outcome:
    """Leave out what the tests themselves left in the working folder."""
    return replace(
        outcome, files={name: text for name, text in outcome.files.items() if name == OUTCOMES}, dropped=()
    )


def compare(it: harness.Harness, image: str, only: str = "") -> Iterator[harness.Verdict]:
    chosen = cases(only)
    plainly = plain.run_all(it.engine, image, chosen)

    def one(case: Case) -> harness.Verdict:
        outcome = through.run(it.engine, image, case, "script")
        found = differences(outcomes_only(plainly[case.name]), outcomes_only(outcome), case.compare)
        return it.verdict(harness.SUITE, case, "script", found)

    with ThreadPoolExecutor(harness.SANDBOXES) as pool:
        yield from pool.map(one, chosen)
