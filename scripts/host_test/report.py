"""The report: what was tried on which guest, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from scripts.host_test.steps import FAILED, INTERRUPTED, Outcome
from scripts.setup.host import SetupError, redact

BEGIN, END = "<!-- make host-test: begin -->", "<!-- make host-test: end -->"
LAST_LINES = 15


def render(facts: Mapping[str, str], outcomes: Iterable[Outcome]) -> str:
    lines = ["| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts.items() if value]
    lines += ["", "| tried | result | seconds |", "|---|---|---|"]
    outcomes = list(outcomes)
    for one in outcomes:
        lines.append(f"| {one.title} | {one.status} | {f'{one.seconds:.0f}' if one.seconds else ''} |")
    for one in outcomes:
        if one.status in (FAILED, INTERRUPTED):
            lines += ["", f"The last lines of *{one.name}*, {one.status}:", "", *_quoted(one.output)]
    return "\n".join(lines) + "\n"


def _cell(value: str) -> str:
    return value.replace("\n", " ").replace("|", "\\|")


def _quoted(output: str) -> list[str]:
    # A page of the documentation names no mirror.
    words = (without_hosts(line) for line in redact(output).strip().splitlines()[-LAST_LINES:])
    return [f"    {line}".rstrip() for line in words] or ["    (it wrote nothing)"]


def without_hosts(line: str) -> str:
    return " ".join("(address)" if "://" in word else word for word in line.split(" "))


def put(page: Path, report: str) -> None:
    """Replace what is between the markers of the page. Raises SetupError if they are missing."""
    text = page.read_text(encoding="utf-8")
    head, begun, rest = text.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not (begun and ended):
        raise SetupError(str(page), f"`{BEGIN}` and `{END}` are not in it", f"git checkout {page}")
    page.write_text(f"{head}{BEGIN}\n{report}{END}{tail}", encoding="utf-8")
