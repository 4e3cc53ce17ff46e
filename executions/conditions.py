"""Conditions of alerts about executions: what fails, and what waits."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlencode

from django.db.models import Count, Min
from django.utils import timezone

from clients.models import Client
from executions import figures
from executions.models import Execution, Status
from runtimes.models import Runtime
from sandbox_platform.kit.conditions import (
    CRITICAL,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Choice,
    Condition,
    Finding,
    Parameter,
    ShippedRule,
    Values,
    declare,
)
from sandbox_platform.kit.units import format_ms

LIST = "/admin/executions/execution/"
KINDS: dict[str, tuple[str, set[str]]] = {
    "platform_error": ("Platform errors", {Status.PLATFORM_ERROR}),
    "failed": ("Failed programs", {Status.FAILED}),
    "limit": ("Time, memory or output limit", {Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.OUTPUT_LIMIT}),
    "rejected": ("Rejected requests", {Status.REJECTED}),
    "any": (
        "Any failure",
        {
            Status.PLATFORM_ERROR, Status.FAILED, Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.OUTPUT_LIMIT,
            Status.REJECTED,
        },
    ),
}  # fmt: skip
EVERYTHING, CLIENT, RUNTIME = "everything", "client", "runtime"
GROUPS = {EVERYTHING: "All executions together", CLIENT: "Each client", RUNTIME: "Each runtime"}


def failures(values: Values) -> Iterator[Finding]:
    """Yield each group of which at least `number` executions, and `share` percent of them, failed in the window."""
    window = timedelta(milliseconds=values["window_ms"])
    until = timezone.now()
    title, statuses = KINDS[values["kind"]]
    totals, failed = Counter[int | None](), Counter[int | None]()
    for row in figures.counts(until - window, figures.HOUR, until):
        key = None if values["by"] == EVERYTHING else row[f"{values['by']}_id"]
        totals[key] += row["count"]
        failed[key] += row["count"] if row["status"] in statuses else 0
    firing = [key for key, number in failed.items() if _is_firing(number, totals[key], values)]
    names = _names(values["by"], firing)
    for key in firing:
        share = 100 * failed[key] / totals[key]
        numbers = f"{failed[key]:,} of {totals[key]:,} executions ({share:.0f} %)"
        detail = f"{title}: {numbers} in the last {format_ms(values['window_ms'])}."
        yield Finding(names[key], failed[key], detail, _link(values, key, statuses))


def _is_firing(number: int, total: int, values: Values) -> bool:
    return bool(number >= values["number"] and 100 * number >= values["share"] * total)


def _names(by: str, keys: list[int | None]) -> dict[int | None, str]:
    names: dict[int | None, str] = {None: "no client" if by == CLIENT else "all executions"}
    known = [key for key in keys if key is not None]
    model = Client if by == CLIENT else Runtime
    column = "name" if by == CLIENT else "slug"
    found = dict(model._default_manager.filter(pk__in=known).values_list("pk", column))
    return names | {key: f"{by} {found.get(key, f'#{key}')}" for key in known}


def _link(values: Values, key: int | None, statuses: set[str]) -> str:
    query = {"range": "1h" if values["window_ms"] <= HOUR_MS else "24h"}
    if len(statuses) == 1:
        query["status__exact"] = str(*statuses)
    if key is not None:
        query[f"{values['by']}__id__exact"] = str(key)
    return f"{LIST}?{urlencode(query)}"


def queue_old(values: Values) -> Iterator[Finding]:
    queue = Execution.objects.filter(status=Status.QUEUED).aggregate(number=Count("pk"), oldest=Min("queued_at"))
    if queue["oldest"] is None:
        return
    age_ms = (timezone.now() - queue["oldest"]).total_seconds() * 1000
    if age_ms >= values["age_ms"]:
        detail = f"{queue['number']:,} executions wait, the oldest for {format_ms(round(age_ms, -3))}."
        yield Finding("the queue", age_ms, detail, f"{LIST}?status__exact=queued")


FAILURE_PARAMETERS = (
    Choice("kind", "Failures", "any", {name: label for name, (label, _) in KINDS.items()}),
    Choice("by", "Counted for", EVERYTHING, GROUPS, "Each client or runtime gets an alert of its own."),
    Parameter("window_ms", "In the last", 15 * MINUTE_MS, MINUTE_MS, DAY_MS, "ms",
        "Longer than 2 hours, whole hours are counted."),
    Parameter("number", "At least this many", 10, 1, 1_000_000),
    Parameter("share", "And at least this share, in percent", 0, 0, 100, "%", "0: any share."),
)  # fmt: skip

declare(
    Condition(
        "failures",
        "Failures",
        "Number and share of the executions queued in a window that failed in one way, for all, each client or each "
        "runtime.",
        failures,
        FAILURE_PARAMETERS,
        unit="executions",
        shipped=(
            ShippedRule(
                "platform_errors", "Platform errors", CRITICAL,
                parameters={"kind": "platform_error", "number": 3},
            ),
            ShippedRule(
                "client_failures", "Most executions of a client fail",
                parameters={"kind": "any", "by": CLIENT, "window_ms": HOUR_MS, "number": 20, "share": 80},
            ),
            ShippedRule(
                "runtime_failures", "Most executions of a runtime fail",
                parameters={"kind": "any", "by": RUNTIME, "window_ms": HOUR_MS, "number": 20, "share": 90},
            ),
        ),
    )
)  # fmt: skip
declare(
    Condition(
        "queue_old",
        "Queue too old",
        "The execution that waits longest for a worker has waited for longer than this.",
        queue_old,
        (Parameter("age_ms", "Oldest waits for", MINUTE_MS, 1000, HOUR_MS, "ms"),),
        unit="ms",
        shipped=(ShippedRule("queue_old", "Queue too old", pending_ms=MINUTE_MS),),
    )
)
