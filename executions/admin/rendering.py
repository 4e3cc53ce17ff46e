"""HTML for an execution's page. All values may be untrusted: use format_html only."""

import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from executions.models import Execution
from runtimes.models import Limits
from sandbox_platform.kit import html
from sandbox_platform.kit.units import format_bytes, format_ms

SHOWN_LABELS = 2

PHASES = (
    ("Queue", "queued_at", "claimed_at", "until a worker claimed it"),
    ("Claim", "claimed_at", "sandbox_at", "until it had a sandbox; longer for a cold start"),
    ("Sandbox", "sandbox_at", "started_at", "until the job was sent"),
    ("Run", "started_at", "ended_at", "the program"),
    ("Store", "ended_at", "finished_at", "until result and artifacts were stored"),
)


def marks(execution: Execution) -> SafeString:
    """Return short marks for a row of the list: cold start, files, batch, rerun, callback, and labels."""
    counts = ((execution.input_count, "in"), (execution.artifact_count, "out"))
    words = ["cold"] if execution.warm is False else []
    words += [f"{count} {name}" for count, name in counts if count]
    words += ["batch"] if execution.batch_id else []
    words += ["rerun"] if execution.rerun_of else []
    words += ["callback"] if execution.callback_url else []
    words += [f"{name}: {value}" for name, value in list(execution.labels.items())[:SHOWN_LABELS]]
    return format_html_join(" ", '<span class="label" title="{}">{}</span>', ((word, word[:60]) for word in words))


def engine_of(execution: Execution) -> str:
    return execution.get_engine_display() or "unknown"


def _milliseconds(execution: Execution, begin: str, end: str) -> float | None:
    first, last = getattr(execution, begin), getattr(execution, end)
    return (last - first).total_seconds() * 1000 if first and last else None


def timeline(execution: Execution) -> SafeString:
    total = _milliseconds(execution, "queued_at", "finished_at") or 0.0
    rows = []
    for name, begin, end, meaning in PHASES:
        spent = _milliseconds(execution, begin, end)
        if spent is None:
            continue
        offset = _milliseconds(execution, "queued_at", begin) or 0.0
        bar = html.bar(offset / total, spent / total) if total else ""
        rows.append((name, meaning, format_ms(spent), bar))
    rows.append(("Total", "", format_ms(total) if total else "not finished", ""))
    body = format_html_join(
        "",
        '<tr><th scope="row">{} <span class="note">{}</span></th><td class="number">{}</td>'
        '<td class="bar">{}</td></tr>',
        rows,
    )
    return format_html('<table class="facts phases">{}</table>', body)


def resources(execution: Execution) -> SafeString:
    limits = execution.limits
    rows = [
        ("Wall time", execution.run_ms, limits.get("wall_time_ms"), format_ms),
        ("CPU time", execution.cpu_ms, limits.get("cpu_time_ms"), format_ms),
        ("Peak memory", execution.peak_memory_bytes, limits.get("memory_bytes"), format_bytes),
        ("Standard output", len(execution.stdout.encode()), limits.get("output_bytes"), format_bytes),
        ("Standard error", len(execution.stderr.encode()), limits.get("output_bytes"), format_bytes),
    ]
    body = format_html_join(
        "",
        '<tr><th scope="row">{}</th><td class="number">{}</td><td class="number">{}</td>'
        '<td class="bar">{}</td></tr>',
        (
            (
                name,
                "not measured" if used is None else unit(used),
                unit(limit) if limit else "",
                html.bar(0, used / limit, "full" if used >= limit else "") if used and limit else "",
            )
            for name, used, limit, unit in rows
        ),
    )
    return format_html(
        '<table class="facts"><thead><tr><th></th><th>Used</th><th>Limit</th><th></th></tr></thead>{}</table>',
        body,
    )


def limits(execution: Execution) -> SafeString:
    return html.pairs({name: _limit(name, execution.limits.get(name)) for name in Limits.__dataclass_fields__})


def _limit(name: str, value: Any) -> str:
    if isinstance(value, int) and name.endswith("_bytes"):
        return format_bytes(value)
    if isinstance(value, int) and name.endswith("_ms"):
        return format_ms(value)
    return str(value)


def setting(name: str, value: Any) -> str:
    """Return a configuration value as text; `name` is the setting's name in the API."""
    if name.startswith("limits."):
        return _limit(name, value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def exit_of(execution: Execution) -> str:
    if execution.signal is not None:
        return f"signal {execution.signal}"
    return "none" if execution.exit_code is None else f"status {execution.exit_code}"


def violations(values: list[dict[str, object]]) -> SafeString:
    if not values:
        return html.note("none")
    body = format_html_join(
        "",
        '<tr><td class="number">line {}</td><td>{}</td><td><code>{}</code></td></tr>',
        ((value.get("line", ""), value.get("message", ""), value.get("rule", "")) for value in values),
    )
    return format_html('<table class="facts">{}</table>', body)
