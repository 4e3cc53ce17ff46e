"""The listed deviations: the tables of docs/fidelity.md. One that is not listed fails, and so does one that is gone."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "fidelity.md"
HEADINGS = {
    "## Deviations of the platform": "platform",
    "## Deviations of gVisor": "gvisor",
    "## Deviations in Python's own tests": "suite",
    "## Deviations in Go's own tests": "suite",
}
COLUMNS = 4


# How the reason of a row begins that holds for one engine only.
OF_ENGINE = {"docker": "With the Docker engine: ", "direct": "With the direct engine: "}


class TableError(Exception):
    """A table of docs/fidelity.md cannot be read."""


@dataclass(frozen=True)
class Deviation:
    kind: str  # of HEADINGS
    runtime: str
    case: str
    differs: frozenset[str]  # aspects, or "expected" where the outcome is not as the case itself says
    ways: frozenset[str]  # empty: in every way that the case is run
    why: str

    @property
    def engine(self) -> str:
        """The engine with which the case deviates, "" for every engine."""
        return next((name for name, words in OF_ENGINE.items() if self.why.startswith(words)), "")

    @property
    def id(self) -> str:
        return f"{self.runtime}/{self.case}"


def load(page: Path = PAGE) -> list[Deviation]:
    """Return all rows. Raises TableError."""
    found = []
    kind = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            kind = HEADINGS.get(line.strip(), "")
        elif kind and line.startswith("|") and not re.fullmatch(r"[|\- ]+|\| runtime .*", line):
            found.append(_row(kind, line))
    keys = [(row.kind, row.id) for row in found]
    if repeated := {key for key in keys if keys.count(key) > 1}:
        raise TableError(f"listed twice: {sorted(repeated)}")
    return found


def _row(kind: str, line: str) -> Deviation:
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    if len(cells) != COLUMNS or not all(cells):
        raise TableError(f"not {COLUMNS} cells: {line}")
    runtime, case, differs, why = cells
    words, _, ways = differs.partition(" in ")
    return Deviation(kind, runtime, case.strip("`"), _words(words), _words(ways), why)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def listed(rows: Iterable[Deviation], kind: str, case_id: str, way: str, aspects: Iterable[str]) -> bool:
    """Whether a case that differs in these aspects may do so."""
    return any(
        row.kind == kind
        and row.id == case_id
        and (not row.ways or way in row.ways)
        and set(aspects) <= row.differs
        for row in rows
    )
