"""The cases: `cases/<runtime>/<subject>.toml`, checked as they are read."""

import base64
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from runtimes.manifests import Manifest, load_all
from tests.fidelity.outcome import ASPECTS

FOLDER = Path(__file__).parent / "cases"
# The ways to run a program other than as a fresh script, which every case is.
WAYS = ("function", "warm", "cold")
# The causes of the reported deviations; docs/fidelity.md says what each letter is.
MECHANISMS = "ABCDEFGHIJKL"
EXPECTED = ("exit_code", "signal", "stdout", "stderr", "stdout_ends", "stderr_has", "files", "result", "frames")
SECONDS = 20.0
# A function mode run of a script: its top level runs as it stands, then an empty main.
EMPTY_MAIN = {
    "python": "\n\ndef main():\n    pass\n",
    "nodejs": "\nfunction main() { return null; }\n",
    "typescript": "\nexport function main() { return null; }\n",
    "ruby": "\ndef main = nil\n",
    "php": "\nfunction main() {}\n",
    "r": "\nmain <- function() NULL\n",
    "bash": "\nmain() { echo null; }\n",
    "perl": "\nsub main { return undef }\n1;\n",
    "lua": "\nfunction main() end\n",
}


class CaseError(Exception):
    """A case file is not valid."""


@dataclass(frozen=True)
class Case:
    runtime: str
    name: str
    program: str
    subject: str = ""  # the file's name
    mechanism: str = ""
    core: bool = False  # also in `make test`
    also: tuple[str, ...] = ()  # of WAYS
    cold: bool = False  # the job needs an interpreter that is started for it, and must say so
    stdin: str = ""
    stdin_times: int = 1
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    source_file: str = ""
    seconds: float = SECONDS
    compare: tuple[str, ...] = ASPECTS
    normalise: tuple[tuple[str, str], ...] = ()  # expressions and what replaces them, in all that is compared
    expect: Mapping[str, Any] = field(default_factory=dict)  # asserted of every run, so that both cannot be wrong
    call: Mapping[str, Any] | None = (
        None  # arguments of main: a case of mode function only, with nothing to compare
    )

    @property
    def id(self) -> str:
        return f"{self.runtime}/{self.name}"

    @property
    def ways(self) -> tuple[str, ...]:
        return ("function",) if self.call is not None else ("script", *self.also)

    @property
    def manifest(self) -> Manifest:
        return manifests()[self.runtime]

    @property
    def source(self) -> str:
        return self.source_file or str(self.manifest.fields["source_file"])

    @property
    def files_base64(self) -> list[dict[str, str]]:
        return [
            {"path": path, "base64": base64.b64encode(content.encode()).decode()}
            for path, content in self.files.items()
        ]


@cache
def manifests() -> dict[str, Manifest]:
    return {manifest.slug: manifest for manifest in load_all()}


@cache
def load(folder: Path = FOLDER) -> tuple[Case, ...]:
    """Return all cases, by runtime and file. Raises CaseError."""
    cases = [case for path in sorted(folder.glob("*/*.toml")) for case in of_file(path)]
    names = [case.id for case in cases]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise CaseError(f"repeated: {', '.join(sorted(repeated))}")
    return tuple(cases)


def of_file(path: Path) -> list[Case]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise CaseError(f"{path}: {e}") from e
    return [_case(path, entry) for entry in data["case"]]


def _case(path: Path, entry: Mapping[str, Any]) -> Case:
    where = f"{path}: {entry.get('name', 'a case without a name')}"
    known = {f.name for f in fields(Case)} - {"runtime", "subject"}
    if unknown := set(entry) - known:
        raise CaseError(f"{where}: unknown key {', '.join(sorted(unknown))}")
    lists = {key: tuple(entry[key]) for key in ("also", "argv", "compare") if key in entry}
    if "normalise" in entry:
        lists["normalise"] = tuple((pattern, replacement) for pattern, replacement in entry["normalise"])
    try:
        case = Case(**{**entry, **lists}, runtime=path.parent.name, subject=path.stem)
    except TypeError as e:
        raise CaseError(f"{where}: {e}") from e
    for problem in problems(case):
        raise CaseError(f"{where}: {problem}")
    return case


def problems(case: Case) -> Iterable[str]:
    if case.runtime not in manifests():
        yield "its folder is not named after a runtime"
        return
    if case.mechanism and case.mechanism not in MECHANISMS:
        yield f"mechanism {case.mechanism!r} is none of {MECHANISMS}"
    for given, known in ((case.also, WAYS), (case.compare, ASPECTS), (case.expect, EXPECTED)):
        if unknown := [name for name in given if name not in known]:
            yield f"{unknown[0]!r} is none of {', '.join(known)}"
    if ("function" in case.also or case.call is not None) and case.runtime not in EMPTY_MAIN:
        yield "the runtime has no mode function"
    if case.call is not None and "result" not in case.expect:
        yield "a case with `call` must expect a result"
