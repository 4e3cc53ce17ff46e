"""The dashboard: the admin's first page, with figures about executions, pool, seals and probes."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Count, F, Min, Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from alerts.evaluation import MOST_SUBJECTS
from alerts.firing import firing_of
from alerts.models import Alert, Severity
from alerts.watch import unwatched
from audit.models import Pending, Seal
from clients.models import Client
from console import first_steps
from executions import figures
from executions.models import Execution, Status
from inspections.standing import Standing, standings
from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.ranges import CUSTOM, TimeRange, picker
from sandbox_platform.kit.units import format_ms
from sandboxes import nodes
from sandboxes.models import Node, Sandbox, SandboxState

DEFAULT_RANGE = "24h"
# Widths of a bar of the chart: the first with which the chart has no more than MOST_BARS.
STEPS = (
    timedelta(minutes=5), timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=7),
    timedelta(days=28), timedelta(days=364),
)  # fmt: skip
MOST_BARS = 60
GROUPS = {
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.TIMED_OUT: "limit",
    Status.OUT_OF_MEMORY: "limit",
    Status.OUTPUT_LIMIT: "limit",
    Status.REJECTED: "rejected",
    Status.CANCELLED: "cancelled",
    Status.PLATFORM_ERROR: "platform error",
    Status.QUEUED: "open",
    Status.RUNNING: "open",
}
SERIES = ("succeeded", "failed", "limit", "rejected", "cancelled", "platform error", "open")
# Failures of programs are included: a runtime whose programs all fail deserves a look.
TROUBLE = {Status.FAILED, Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.OUTPUT_LIMIT, Status.PLATFORM_ERROR}
MOST_CLIENTS = 8
MOST_ALERTS = 5


@dataclass(frozen=True)
class Tile:
    title: str
    value: str
    note: str
    link: str = ""
    state: str = ""


@dataclass(frozen=True)
class Period:
    """The time that the figures cover. `step`: width of a bar of the chart."""

    range: TimeRange
    since: datetime
    until: datetime

    @classmethod
    def of(cls, chosen: TimeRange) -> "Period":
        now = timezone.now()
        until = min(chosen.until or now, now)
        since = chosen.since
        if chosen.name == CUSTOM:
            # Beyond the history there is nothing to count, and the calendar may end.
            first = Execution.objects.aggregate(first=Min("queued_at"))["first"] or until
            since = max(since or first, first)
        return cls(chosen, *figures.bounds(min(since or until, until), until))

    @property
    def step(self) -> timedelta:
        span = self.until - self.since
        steps = STEPS if span <= figures.EXACT else STEPS[1:]
        return next((step for step in steps if span <= MOST_BARS * step), STEPS[-1])

    @property
    def shown_until(self) -> datetime:
        return min(self.until, timezone.now())

    def list_of(self, **filters: object) -> str:
        """Return the address of the list of executions of this time, with the filters."""
        query = urlencode(self.range.parameters | {name: str(value) for name, value in filters.items()})
        return f"{reverse('admin:executions_execution_changelist')}?{query}"


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    chosen = TimeRange.of(request, DEFAULT_RANGE)
    period = Period.of(chosen)
    rows = figures.counts(period.since, period.step, period.until)
    runtimes = {runtime.pk: runtime for runtime in Runtime.objects.all()}
    empty = not rows and not Execution.objects.exists()
    probed = standings() if request.user.has_perm("inspections.view_inspection") else None
    return context | {
        "picker": picker(request, chosen, everything=False),
        "period": period,
        "tiles": [*_live_tiles(request, runtimes, probed), *_range_tiles(rows, period)],
        "firing": _firing(request),
        "probes": [_probe(standing) for standing in probed or ()],
        "chart": _chart(rows, period),
        "latencies": _latencies(period, runtimes),
        "clients": _busiest(rows, period),
        "failing": _failing(rows, runtimes, period),
        "empty": empty,
        "first": first_steps.on_dashboard(request),
        "may_hide": True,
    }


def _places(serving: list[str]) -> str:
    """How many may run at the same time. The keepers tell it: in a cluster, the web knows no node's settings."""
    places = Node.objects.filter(name__in=serving).aggregate(places=Sum("workers"))["places"]
    if not places:
        return "no node takes work"
    return f"of at most {places}" + (f" on {len(serving)} nodes" if len(serving) > 1 else "")


def _live_tiles(
    request: HttpRequest, runtimes: dict[int, Runtime], probed: list[Standing] | None
) -> Iterable[Tile]:
    queue = Execution.objects.filter(status=Status.QUEUED).aggregate(number=Count("pk"), oldest=Min("queued_at"))
    age = (timezone.now() - queue["oldest"]).total_seconds() * 1000 if queue["oldest"] else 0
    waits = f"oldest waiting for {format_ms(age)}" if queue["number"] else "empty"
    executions = reverse("admin:executions_execution_changelist")
    yield Tile(
        "Queue",
        str(queue["number"]),
        waits,
        f"{executions}?status__exact=queued",
        "warning" if age > 10_000 else "",
    )
    serving = nodes.serving()
    running = Execution.objects.filter(status=Status.RUNNING).count()
    yield Tile(
        "Running",
        str(running),
        _places(serving),
        f"{executions}?status__exact=running",
    )
    current = Q(runtime_revision=F("runtime__revision"))
    ready = Sandbox.objects.filter(current, state=SandboxState.READY).count()
    wanted = sum(runtime.pool_min for runtime in runtimes.values() if runtime.enabled)
    yield Tile(
        "Warm sandboxes", str(ready), f"minimum {wanted}", reverse("admin:pool"),
        "warning" if ready < wanted else "ok",
    )  # fmt: skip
    yield _service_tile(serving)
    if request.user.has_perm("alerts.view_alert"):
        yield _alert_tile(request)
    if request.user.has_perm("audit.view_seal"):
        yield _seal_tile()
    if probed is not None:
        yield _probe_tile(probed)


def _service_tile(serving: list[str]) -> Tile:
    """Say whether programs run: on this node, or on others."""
    link = reverse("admin:doctor")
    if serving:
        return Tile(
            "Service", "up", f"node {serving[0]}" if len(serving) == 1 else f"{len(serving)} nodes", link, "ok"
        )
    node = f"node {settings.SANDBOX_NODE}"
    alive = liveness.keeper_alive(settings.SANDBOX_NODE), bool(liveness.workers_alive(settings.SANDBOX_NODE))
    missing = [name for name, there in zip(("keeper", "worker"), alive, strict=True) if not there]
    note = f"no {' and no '.join(missing)} on {node}" if missing else f"{node} is being drained"
    return Tile("Service", "down", note, link, "broken")


def _alert_tile(request: HttpRequest) -> Tile:
    firing = firing_of(request)
    link = f"{reverse('admin:alerts_alert_changelist')}?state__exact=firing"
    if problem := unwatched():
        return Tile("Alerts", str(firing.total()), f"not watched: {problem}"[:120], link, "broken")
    worst = next((each for each in reversed(Severity.values) if firing[each]), "")
    note = ", ".join(f"{firing[each]} {each}" for each in reversed(Severity.values) if firing[each])
    state = {"critical": "broken", "warning": "warning"}.get(worst, "ok")
    return Tile("Alerts", str(firing.total()), note or "nothing fires", link, state)


def _firing(request: HttpRequest) -> list[Alert]:
    """Return the alerts for the dashboard, the worst first."""
    if not request.user.has_perm("alerts.view_alert"):
        return []
    firing = Alert.objects.firing().order_by("-fired_at")[:MOST_SUBJECTS]
    return sorted(firing, key=lambda alert: -Severity(alert.severity).rank)[:MOST_ALERTS]


def _seal_tile() -> Tile:
    last = Seal.objects.first()
    link = reverse("admin:audit_seal_changelist")
    if last is None:
        return Tile("Audit seals", "none yet", "the first is made within an hour of the first run", link)
    age = timezone.now() - last.created_at
    # The limit keeps the count cheap.
    pending = Pending.objects.all()[:10_000].count()
    late = pending and age > timedelta(hours=2)
    return Tile(
        "Audit seals", f"#{last.sequence}", f"{_ago(age)}, {pending} row{'' if pending == 1 else 's'} pending",
        link, "warning" if late else "ok",
    )  # fmt: skip


def _probe_tile(probed: list[Standing]) -> Tile:
    if not probed:
        profiles = reverse("admin:seccomp_profiles_seccompprofile_changelist")
        return Tile("Seccomp probes", "none", "no runtime has a profile", profiles)
    states = Counter(standing.state for standing in probed)
    worst = probed[0]
    others = f"{worst.profile} on {worst.runtime}: {worst.words.lower()}"
    return Tile(
        "Seccomp probes", f"{states['ok']} of {len(probed)}", "enforced" if worst.state == "ok" else others,
        "#probes", worst.state,
    )  # fmt: skip


def _ago(age: timedelta) -> str:
    """Format an age in whole minutes, or in whole seconds below one minute."""
    unit = timedelta(minutes=1) if age > timedelta(minutes=1) else timedelta(seconds=1)
    return f"{format_ms(age // unit * unit // timedelta(milliseconds=1))} ago"


def _probe(standing: Standing) -> dict[str, Any]:
    return {
        "standing": standing,
        "age": _ago(standing.age or timedelta()),
        "summary": standing.probe.details.get("summary", "") if standing.probe else "",
    }


def _range_tiles(rows: list[dict[str, Any]], period: Period) -> Iterable[Tile]:
    total = sum(row["count"] for row in rows)
    ended = Counter[str]()
    for row in rows:
        ended[row["status"]] += row["count"]
    warm, cold = sum(row["warm"] for row in rows), sum(row["cold"] for row in rows)
    succeeded = _share(ended[Status.SUCCEEDED], total)
    yield Tile("Executions", f"{total:,}", f"{succeeded} succeeded", period.list_of())
    yield Tile("Warm starts", _share(warm, warm + cold), f"{cold:,} cold", period.list_of(warm__exact=0))
    failures = ended[Status.PLATFORM_ERROR]
    link = period.list_of(status__exact=Status.PLATFORM_ERROR)
    yield Tile("Platform errors", f"{failures:,}", _share(failures, total), link, "broken" if failures else "ok")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


def _chart(rows: list[dict[str, Any]], period: Period) -> dict[str, Any]:
    step = period.step
    begin = figures.origin_of(period.since, step)
    slots = -((begin - period.until) // step)
    series = {name: [0] * slots for name in SERIES}
    for row in rows:
        slot = (row["hour"] - begin) // step
        if 0 <= slot < slots:
            series[GROUPS.get(row["status"], "open")][slot] += row["count"]
    # Bars of hours in a span of some days need the day as well.
    hours = "%H:%M" if period.until - begin <= timedelta(hours=25) else "%d %b %H:%M"
    form = hours if step < timedelta(days=1) else "%d %b" if step < timedelta(days=28) else "%d %b %Y"
    return {
        "labels": [f"{begin + slot * step:{form}}" for slot in range(slots)],
        "series": [{"name": name, "values": values} for name, values in series.items() if any(values)],
    }


def _latencies(period: Period, runtimes: dict[int, Runtime]) -> list[dict[str, Any]]:
    found = []
    for key, times in figures.times(period.since, period.until).items():
        values = {
            f"{kind}_{name}": figures.quantile(getattr(times, kind), share)
            for kind in ("run", "platform")
            for name, share in (("p50", 0.5), ("p95", 0.95))
        }
        shown = {name: "none" if value is None else format_ms(round(value)) for name, value in values.items()}
        found.append({"runtime": _slug(runtimes, key), "count": sum(times.run.values())} | shown)
    return sorted(found, key=lambda row: -row["count"])


def _slug(runtimes: dict[int, Runtime], key: int) -> str:
    return runtimes[key].slug if key in runtimes else f"#{key}"


def _busiest(rows: list[dict[str, Any]], period: Period) -> list[dict[str, Any]]:
    numbers = Counter[int | None]()
    for row in rows:
        numbers[row["client_id"]] += row["count"]
    names = dict(Client.objects.filter(pk__in=[key for key in numbers if key]).values_list("pk", "name"))
    total = sum(numbers.values())
    return [
        {
            "name": names.get(key or 0, "no client"),
            "link": period.list_of(client__id__exact=key) if key else "",
            "count": number,
            "share": round(100 * number / total),
        }
        for key, number in numbers.most_common(MOST_CLIENTS)
    ]


def _failing(rows: list[dict[str, Any]], runtimes: dict[int, Runtime], period: Period) -> list[dict[str, Any]]:
    totals: Counter[int] = Counter()
    trouble: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        totals[row["runtime_id"]] += row["count"]
        if row["status"] in TROUBLE:
            trouble[row["runtime_id"]][row["status"]] += row["count"]
    found = [
        {
            "runtime": _slug(runtimes, key),
            "count": sum(kinds.values()),
            "share": _share(sum(kinds.values()), totals[key]),
            "why": [
                {
                    "words": f"{number:,} {Status(kind).label.lower()}",
                    "link": period.list_of(runtime__id__exact=key, status__exact=kind),
                }
                for kind, number in kinds.most_common()
            ],
        }
        for key, kinds in trouble.items()
    ]
    return sorted(found, key=lambda row: -row["count"])
