"""Compares a rerun with its earlier run. Their output is untrusted."""

import contextlib
import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from executions.admin import ansi, rendering
from executions.configuration import RunConfiguration
from executions.models import Execution
from executions.models.execution import OPEN
from executions.sources import purged_output
from sandbox_platform.kit import html
from sandbox_platform.kit.units import format_bytes, format_ms

# difflib takes quadratic time in the lines that differ, and more for hostile input.
MOST_LINES = 500
MOST_CHARACTERS = html.SHOWN
LONGEST_LINE = 2000
CONTEXT = 3
# Longer diffs are folded.
FOLDED = 40
TEXTS = (("stdout", "Standard output"), ("stderr", "Standard error"), ("result", "Result of main()"))
SIGNS = {"equal": " ", "delete": "-", "insert": "+"}


@dataclass(frozen=True)
class Fact:
    name: str
    earlier: Any
    later: Any
    change: str = ""

    @property
    def differs(self) -> bool:
        return bool(self.earlier != self.later)


@dataclass(frozen=True)
class Line:
    kind: str  # "equal", "delete", "insert", or "gap" for omitted lines
    text: str

    @property
    def sign(self) -> str:
        return SIGNS.get(self.kind, "")


@dataclass(frozen=True)
class Diff:
    name: str
    title: str
    lines: list[Line]
    note: str = ""

    @property
    def changed(self) -> int:
        return sum(line.kind in ("delete", "insert") for line in self.lines)

    @property
    def folded(self) -> bool:
        return len(self.lines) > FOLDED


def context_of(execution: Execution) -> dict[str, Any]:
    """Return the template's context for a rerun; `earlier` is None if retention has removed the earlier run."""
    runs = Execution.objects.select_related("runtime", "client")
    earlier = runs.filter(pk=execution.rerun_of).first() if execution.rerun_of else None
    if earlier is None:
        return {"earlier": None, "later": execution}
    return {
        "earlier": earlier,
        "later": execution,
        "is_open": execution.status in OPEN,
        "facts": list(_facts(earlier, execution)),
        "configuration": list(_configuration(earlier, execution)) if execution.image_id else None,
        "diffs": [] if execution.status in OPEN else list(_diffs(earlier, execution)),
        "purged": _purged(earlier, execution),
        "address": reverse("admin:executions_execution_comparison", args=[execution.pk]),
    }


def _facts(earlier: Execution, later: Execution) -> Iterator[Fact]:
    both = (earlier, later)
    yield Fact("Status", *(html.badge(each.status, each.get_status_display()) for each in both))
    yield Fact("Outcome", *(each.get_outcome_display() or "not ended" for each in both))
    yield Fact("Exit", *(rendering.exit_of(each) for each in both))
    yield _measured("Run time", earlier.run_ms, later.run_ms, format_ms)
    yield _measured("CPU time", earlier.cpu_ms, later.cpu_ms, format_ms)
    yield _measured("Peak memory", earlier.peak_memory_bytes, later.peak_memory_bytes, format_bytes)
    yield _measured("From queue to end", _total_ms(earlier), _total_ms(later), format_ms)
    yield Fact("Start", *({True: "warm", False: "cold", None: "unknown"}[each.warm] for each in both))
    yield Fact("Engine", *(rendering.engine_of(each) for each in both))
    yield Fact("Artifacts", earlier.artifact_count, later.artifact_count)


def _measured(name: str, then: float | None, now: float | None, unit: Callable[[Any], str]) -> Fact:
    before, after = ("not measured" if value is None else unit(value) for value in (then, now))
    change = f"{(now - then) / then:+.0%}" if then and now is not None and now != then else ""
    return Fact(name, before, after, change)


def _total_ms(execution: Execution) -> float | None:
    if execution.finished_at is None:
        return None
    return (execution.finished_at - execution.queued_at).total_seconds() * 1000


def _configuration(earlier: Execution, later: Execution) -> Iterator[Fact]:
    """Yield the settings that differ between the two runs, named as in the API."""
    for difference in RunConfiguration.stored(earlier).differences(RunConfiguration.stored(later)):
        name = difference["field"]
        yield Fact(name, *(rendering.setting(name, difference[side]) for side in ("then", "now")))


def _purged(earlier: Execution, later: Execution) -> str:
    """Return a note on purged output, whose absence would otherwise look like a difference; "" if none was purged."""
    empty = [each.pk for each in (earlier, later) if not (each.stdout or each.stderr or each.result)]
    gone = purged_output(empty)
    names = [name for name, each in (("the earlier", earlier), ("the later", later)) if each.pk in gone]
    return f"Output of {' and '.join(names)} run was purged by the retention policy." if names else ""


def _diffs(earlier: Execution, later: Execution) -> Iterator[Diff]:
    for name, title in TEXTS:
        then, now = getattr(earlier, name) or "", getattr(later, name) or ""
        if then or now:
            yield diff(name, title, then, now)


def diff(name: str, title: str, then: str, now: str) -> Diff:
    if then == now:
        return Diff(name, title, [])
    before, after = _lines(name, then), _lines(name, now)
    note = ""
    if max(len(then), len(now)) > MOST_CHARACTERS or max(len(before), len(after)) > MOST_LINES:
        note = (
            f"Only the first {MOST_LINES} lines that may differ, and {MOST_CHARACTERS:,} characters, are compared."
        )
    if before == after:
        return Diff(name, title, [], note or ("" if name == "result" else "Only colours or line endings differ."))
    same = _alike(before, after)
    begin = max(0, same - CONTEXT)
    lines = [_gap(begin)] if begin else []
    lines += _compared(before[begin : begin + MOST_LINES], after[begin : begin + MOST_LINES])
    return Diff(name, title, lines, note)


def _gap(lines: int) -> Line:
    return Line("gap", f"{lines} equal line{'' if lines == 1 else 's'}")


def _lines(name: str, text: str) -> list[str]:
    text = text[:MOST_CHARACTERS]
    if name == "result":
        with contextlib.suppress(ValueError, RecursionError):  # cut, or nested too deep: compare the raw text
            text = json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False)
    # A page in UTF-8 cannot contain a lone surrogate.
    readable = ansi.plain(text).encode("utf-8", "replace").decode()
    return [line[:LONGEST_LINE] for line in readable.splitlines()]


def _alike(before: list[str], after: list[str]) -> int:
    """Return the number of equal lines at the beginning."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(before), len(after)))


def _compared(before: list[str], after: list[str]) -> Iterator[Line]:
    end = 0
    for group in difflib.SequenceMatcher(None, before, after).get_grouped_opcodes(CONTEXT):
        if left_out := group[0][1] - end:
            yield _gap(left_out)
        end = group[-1][2]
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (Line("equal", line) for line in before[i1:i2])
            else:
                yield from (Line("delete", line) for line in before[i1:i2])
                yield from (Line("insert", line) for line in after[j1:j2])
