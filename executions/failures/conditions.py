"""The condition of alerts about failures that nobody has seen before."""

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from executions.failures.grouping import groups_first_seen_since
from sandbox_platform.kit.conditions import (
    DAY_MS,
    HOUR_MS,
    INFO,
    MINUTE_MS,
    Condition,
    Finding,
    Parameter,
    ShippedRule,
    Values,
    declare,
)

LIST = "/admin/failures/failuregroup/"


def new_failures(values: Values) -> Iterator[Finding]:
    """Yield each group that appeared in the window and has at least `number` runs.

    Titles that are lines of a program's output stay here.
    """
    since = timezone.now() - timedelta(milliseconds=values["window_ms"])
    for group in groups_first_seen_since(since).filter(count__gte=values["number"]):
        of = f"client {group.client}" if group.client else "no client"
        detail = (
            f"{group.get_kind_display()} of {of} on {group.runtime or 'a deleted runtime'}: {group.count:,} runs."
        )
        yield Finding(group.without_output, group.count, detail, f"{LIST}{group.pk}/change/")


declare(
    Condition(
        "failure_group_new",
        "New failure",
        "A failure that was not seen before, such as another exception, has come several times. The alert ends when it "
        "is no longer new.",
        new_failures,
        (
            Parameter("number", "At least this many", 10, 1, 1_000_000, "runs"),
            Parameter("window_ms", "New for", HOUR_MS, MINUTE_MS, 30 * DAY_MS, "ms"),
        ),
        unit="runs",
        shipped=(ShippedRule("failure_group_new", "New failure", INFO),),
    )
)
