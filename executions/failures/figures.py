"""Figures of groups of failures: runs in a time range, trends as small charts, the latest runs."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from executions.failures.grouping import KEPT
from executions.failures.models import FailureGroup, FailureHour, FailureRun
from executions.figures import EXACT, HOUR, floor_hour
from executions.models.ids import first_id
from sandbox_platform.kit.ranges import TimeRange

# Widths of a bar of a trend: the first with which it has no more than MOST_BARS.
STEPS = (HOUR, timedelta(hours=6), timedelta(days=1), timedelta(days=7))
MOST_BARS = 40
# The trend of all times shows the last ones.
TREND = timedelta(days=30)
HOURS = f"""
    SELECT group_id, floor(extract(epoch FROM hour - %s) / %s)::int, sum(count)
    FROM {FailureHour._meta.db_table} WHERE group_id = ANY(%s) AND hour >= %s AND hour < %s GROUP BY 1, 2
"""  # noqa: S608


@dataclass(frozen=True)
class Bins:
    """The bars of a trend, which begin at full hours."""

    since: datetime
    step: timedelta
    number: int

    @classmethod
    def of(cls, chosen: TimeRange) -> "Bins":
        now = timezone.now()
        until = min(chosen.until or now, now)
        since = max(chosen.since or until - TREND, now - KEPT)
        since = min(since, until)
        step = next((step for step in STEPS if until - since <= (MOST_BARS - 1) * step), STEPS[-1])
        since = floor_hour(since) if step == HOUR else since.replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(since, step, max(1, -((since - until) // step)))

    @property
    def until(self) -> datetime:
        return self.since + self.number * self.step

    @property
    def step_words(self) -> str:
        hours = self.step // HOUR
        return {1: "hour", 6: "6 hours", 24: "day"}.get(hours, "week")

    @property
    def labels(self) -> list[str]:
        form = "%d %b %H:%M" if self.step < timedelta(days=1) else "%d %b"
        return [f"{self.since + bar * self.step:{form}}" for bar in range(self.number)]


def seen(groups: QuerySet[FailureGroup], chosen: TimeRange) -> QuerySet[Any]:
    """Return the groups with runs in the range, each with their number as `seen`.

    Within EXACT, runs are counted; in longer ranges, hours.
    """
    since, until = chosen.since, chosen.until
    if not since and not until:
        return groups.annotate(seen=F("count"))
    if since and (until or timezone.now()) - since <= EXACT:
        return groups.filter(_ids("runs__execution", chosen)).annotate(seen=Count("runs"))
    within = Q()
    if since:
        within &= Q(hours__hour__gte=floor_hour(since))
    if until:
        within &= Q(hours__hour__lt=until)
    return groups.filter(within).annotate(seen=Sum("hours__count"))


def _ids(field: str, chosen: TimeRange) -> Q:
    """Return the range as bounds on ids, which are ordered by the time of arrival."""
    bounds = Q()
    if chosen.since:
        bounds &= Q(**{f"{field}__gte": first_id(chosen.since)})
    if chosen.until:
        bounds &= Q(**{f"{field}__lt": first_id(chosen.until)})
    return bounds


def newest_runs(group: UUID, most: int, chosen: TimeRange) -> list[UUID]:
    """Return the ids of the group's newest executions in the range, newest first."""
    runs = FailureRun.objects.filter(_ids("execution", chosen), group=group).order_by("-execution")
    return list(runs.values_list("execution", flat=True)[:most])


def latest(groups: Iterable[UUID]) -> dict[UUID, UUID]:
    """Return the newest execution of each group."""
    newest = FailureRun.objects.filter(group=OuterRef("pk")).order_by("-execution").values("execution")[:1]
    found = FailureGroup.objects.filter(pk__in=list(groups)).order_by().values_list("pk", Subquery(newest))
    return {group: execution for group, execution in found if execution}


def trends(groups: Iterable[UUID], bins: Bins) -> dict[UUID, list[int]]:
    """Return the number of runs in each bar, by group."""
    values: dict[UUID, list[int]] = defaultdict(lambda: [0] * bins.number)
    with connection.cursor() as cursor:
        cursor.execute(HOURS, [bins.since, bins.step.total_seconds(), list(groups), bins.since, bins.until])
        for group, bar, number in cursor.fetchall():
            values[group][bar] = int(number)
    return values


def sparkline(values: list[int]) -> SafeString:
    """Return a small chart of bars, with the figures as its name."""
    most = max(values, default=0)
    name = f"{sum(values):,} runs, at most {most:,} in a bar" if most else "no runs"
    return format_html(
        '<svg class="spark" viewBox="0 0 {} 24" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        4 * len(values), name, _bars(values, most, 24),
    )  # fmt: skip


def chart(values: list[int], bins: Bins) -> SafeString:
    """Return a large chart of the same bars, each with its time and number."""
    most = max(values, default=0)
    return format_html(
        '<svg class="trend" viewBox="0 0 {} 100" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        4 * len(values), f"Runs per {bins.step_words}; the table below has the same figures",
        _bars(values, most, 100, bins.labels),
    )  # fmt: skip


def _bars(values: list[int], most: int, height: int, labels: list[str] | None = None) -> SafeString:
    rows = []
    for bar, value in enumerate(values):
        tall = max(height * value / most, 1.5) if value else 0.0
        title = format_html("<title>{}: {}</title>", labels[bar], f"{value:,}") if labels else ""
        rows.append((4 * bar, f"{height - tall:.1f}", f"{tall:.1f}", title))
    return format_html_join("", '<rect x="{}" y="{}" width="3" height="{}">{}</rect>', rows)
