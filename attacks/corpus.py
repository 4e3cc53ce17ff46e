"""The corpus: cases as data, in cases/*.toml, one file for each family.

A case with `each` is one case for each of its entries. Texts of an entry replace @name@ everywhere in the case. What
only the host knows (@CANARY@, @TCP@ …) is filled in when the case runs.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "cases"
FAMILIES = ("escapes", "reaching", "contamination", "runner", "resources", "artifacts", "parsers")
LOOK = "look"  # of a case's `then`: the snippet of this name
ACCEPTED = (200, 201, 202)
LIMITS = {"wall_time_ms": 20_000}
REPEATED = re.compile(r"@repeat\((.*?),(\d+)\)@", re.DOTALL)
CHARACTER = re.compile(r"@u\(([0-9a-f]+)\)@")


class BadCase(ValueError):
    """A case that does not say what it must."""


@dataclass(frozen=True)
class Case:
    """One attack: a program, or a request, and what must hold.

    `ends`: the statuses in which the execution may end. `answers`: HTTP statuses of the submission; with none of
    ACCEPTED among them the request must be refused. `expect`: exact values of the stored execution; `artifacts`: names
    of its files. `tried`: the program reports that its attack took place, with a line of its output. `then`: the
    platform's own look at the next sandbox, or, `together`, at one beside it. `differs`: both must print different
    texts. `listens`: a port that must not be open on the host. `forbidden`: texts that nothing stored may hold.
    `judged_by_api`: the judges that need no access to the host decide the case alone. `needs`: a machine.
    """

    family: str
    name: str
    holds: str
    runtime: str = ""
    program: str = ""
    mode: str = "script"
    ends: tuple[str, ...] = ("succeeded",)
    answers: tuple[int, ...] = ACCEPTED
    expect: Mapping[str, Any] = field(default_factory=dict)
    tried: bool = True
    limits: Mapping[str, int] = field(default_factory=lambda: LIMITS)
    arguments: str = ""  # JSON text, sent as it is
    environment: Mapping[str, str] = field(default_factory=dict)
    request: str | None = None  # the body, instead of a program
    content_type: str = ""
    then: str = ""
    together: bool = False
    differs: bool = False
    listens: int = 0
    forbidden: tuple[str, ...] = ()
    judged_by_api: bool = False
    core: bool = False
    needs: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether the platform must refuse the submission."""
        return not set(self.answers) & set(ACCEPTED)

    @property
    def is_greedy(self) -> bool:
        """Whether it takes what others need, so that another client must have been served meanwhile."""
        return self.family == "resources"

    def body(
        self,
        values: Mapping[str, str],
        program: str = "",
        runtime: str = "",
        most: Mapping[str, Mapping[str, int]] | None = None,
    ) -> bytes:
        """Return the body of POST /api/v1/executions.

        `program`, `runtime`: others than the case's. `most`: the limits of each runtime, above which none may be asked.
        """
        if self.request is not None and not program:
            return filled(self.request, values).encode("utf-8", "surrogatepass")
        runtime = runtime or self.runtime
        caps = (most or {}).get(runtime, {})
        sent = {
            "runtime": runtime,
            "mode": "script" if program else self.mode,
            "code": filled(program or self.program, values),
            "limits": {name: min(value, caps.get(name, value)) for name, value in self.limits.items()},
            "environment": {name: filled(value, values) for name, value in self.environment.items()},
            "labels": {"attack": self.family},
        }
        text = json.dumps(sent)
        if self.arguments and not program:
            text = f'{text[:-1]}, "arguments": {filled(self.arguments, values)}}}'
        return text.encode()


KNOWN = {each.name for each in fields(Case)} | {"use", "each", "json_program"}


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return the text with the host's values, @repeat(text,number)@ and @u(hexadecimal)@ put in."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    text = CHARACTER.sub(lambda found: chr(int(found[1], 16)), text)
    return REPEATED.sub(lambda found: found[1] * int(found[2]), text)


def load(*families: str) -> list[Case]:
    """Return the cases of these families, or of all. Raises BadCase."""
    return [case for family in families or FAMILIES for case in _read(FOLDER / f"{family}.toml")]


def _read(path: Path) -> Iterator[Case]:
    text = tomllib.loads(path.read_text(encoding="utf-8"))
    own = ("case", "snippets")
    shared = {name: value for name, value in text.items() if name not in own}
    for number, table in enumerate(text["case"], 1):
        try:
            yield from _cases({**shared, **table}, text.get("snippets", {}))
        except (BadCase, KeyError, TypeError) as e:
            raise BadCase(f"{path.name}, case {number} ({table.get('name', 'without a name')}): {e}") from e


def _cases(table: dict[str, Any], snippets: Mapping[str, str]) -> Iterator[Case]:
    if unknown := set(table) - KNOWN:
        raise BadCase(f"unknown fields: {', '.join(sorted(unknown))}")
    entries = table.pop("each", [{}])
    # An entry that lacks a field of the others: a core case is one of its entries only, the first.
    names = {name for entry in entries if isinstance(entry, dict) for name in entry}
    for number, entry in enumerate(entries):
        given = {"each": entry} if isinstance(entry, str) else {name: entry.get(name, "") for name in names}
        yield _case(_put(table, given), snippets, is_first=number == 0)


def _case(table: dict[str, Any], snippets: Mapping[str, str], *, is_first: bool) -> Case:
    if use := table.pop("use", ""):
        table["program"] = snippets[use] + table["program"]
    if (program := table.pop("json_program", None)) is not None:
        table["program"] = program
    if table.get("then") == LOOK:
        table["then"] = snippets[LOOK]
    for name in ("ends", "answers", "forbidden"):
        if name in table:
            table[name] = tuple(table[name])
    table["limits"] = {**LIMITS, **table.get("limits", {})}
    table["core"] = "core" in table and is_first
    case = Case(**table)
    if case.request is None and not case.runtime:
        raise BadCase("neither a runtime nor a request")
    if not case.holds:
        raise BadCase("`holds` is empty: say what must hold, and why")
    return case


def _put(value: Any, entry: Mapping[str, Any]) -> Any:
    """Return the value with the entry's texts in the place of @name@."""
    if isinstance(value, dict):
        return {name: _put(item, entry) for name, item in value.items()}
    if isinstance(value, list):
        return [_put(item, entry) for item in value]
    if isinstance(value, str):
        for name, text in entry.items():
            value = value.replace(f"@{name}@", str(text))
    return value
