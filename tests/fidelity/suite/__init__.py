"""The tests that a language's own package brings, piece by piece, plainly and through the platform.

A suite is a folder named after its runtime: a Dockerfile, which puts the tests on top of the runtime's image, a list of
the pieces that run, and a program that runs one of them and writes a line for each test into `artifacts/outcomes.txt`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.setup import images
from scripts.setup.certificates import build_secrets
from tests.fidelity import harness, plain, through
from tests.fidelity.cases import Case
from tests.fidelity.outcome import Outcome, differences

FOLDER = Path(__file__).parent
TAG = "sandbox-platform/fidelity-suite"
SECONDS = 60.0  # a piece
OUTCOMES = "outcomes.txt"


@dataclass(frozen=True)
class Suite:
    runtime: str
    title: str
    piece: str  # one is in each line of the list; in capitals it stands for the piece's name in the program
    program: str

    @property
    def folder(self) -> Path:
        return FOLDER / self.runtime

    @property
    def listing(self) -> Path:
        return self.folder / f"{self.piece}s.txt"

    @property
    def tag(self) -> str:
        return f"{TAG}:{self.runtime}"

    def image(self, runtime_image: str) -> images.Image:
        dockerfile = self.folder / "Dockerfile"
        content = (dockerfile, self.listing)
        return images.Image(self.title, self.tag, dockerfile, self.folder, content, (f"IMAGE={runtime_image}",))

    def cases(self, only: str = "") -> list[Case]:
        program = (self.folder / self.program).read_text(encoding="utf-8")
        return [
            Case(
                self.runtime,
                name,
                program.replace(self.piece.upper(), name),
                seconds=SECONDS,
                compare=("end", "files"),
            )
            for name in self.listing.read_text(encoding="utf-8").split()
            if only in name
        ]


SUITES = {
    suite.runtime: suite
    for suite in (
        Suite("python", "Python's own", "module", "program.py"),
        Suite("go", "Go's own", "package", "program.go"),
    )
}


def build(suite: Suite, runtime_image: str) -> str:
    """Build the image with the tests, unless it is up to date, and return its name."""
    with build_secrets() as secrets:
        images.build(suite.image(runtime_image), images.inspect(runtime_image, "{{.Id}}"), secrets)
    return suite.tag


def outcomes_only(outcome: Outcome) -> Outcome:
    """Leave out what the tests themselves left in the working folder."""
    return replace(
        outcome, files={name: text for name, text in outcome.files.items() if name == OUTCOMES}, dropped=()
    )


def compare(
    it: harness.Harness, image: str, cases: list[Case], say: Callable[[str], None]
) -> Iterator[harness.Verdict]:
    """Run pieces on both sides. Many tests watch the clock: one that differs and is not listed runs again, alone."""
    plainly = plain.run_all(it.engine, image, cases)

    def verdict(case: Case, reference: Outcome) -> harness.Verdict:
        outcome = through.run(it.engine, image, case, "script")
        found = differences(outcomes_only(reference), outcomes_only(outcome), case.compare)
        return it.verdict(harness.SUITE, case, "script", found)

    with ThreadPoolExecutor(harness.SANDBOXES) as pool:
        again = []
        for seen in pool.map(lambda case: verdict(case, plainly[case.name]), cases):
            if seen.failed:
                say(f"runs again: {seen}")
                again.append(seen.case)
            else:
                yield seen
    for case in again:
        yield verdict(case, plain.run_all(it.engine, image, [case])[case.name])
