"""The dashboard: the admin's first page, with figures about executions, pool, seals and probes."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Min, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from audit.models import Pending, Seal
from clients.models import Client
from executions import figures
from executions.models import Execution, Status
from inspections.standing import Standing, standings
from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.units import format_ms
from sandboxes.models import Sandbox, SandboxState

# By name: time span, width of a bar of the chart, and label.
RANGES = {
    "24h": (timedelta(hours=24), timedelta(hours=1), "24 hours"),
    "7d": (timedelta(days=7), timedelta(hours=6), "7 days"),
    "30d": (timedelta(days=30), timedelta(days=1), "30 days"),
    "1y": (timedelta(days=364), timedelta(days=7), "a year"),
}
DEFAULT_RANGE = "24h"
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


@dataclass(frozen=True)
class Tile:
    title: str
    value: str
    note: str
    link: str = ""
    state: str = ""


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    name = request.GET.get("range", "")
    name = name if name in RANGES else DEFAULT_RANGE
    span, step, _ = RANGES[name]
    now = timezone.now()
    rows = figures.counts(now - span, step)
    runtimes = {runtime.pk: runtime for runtime in Runtime.objects.all()}
    empty = not rows and not Execution.objects.exists()
    probed = standings() if request.user.has_perm("inspections.view_inspection") else None
    return context | {
        "range": name,
        "ranges": [(key, words) for key, (_, _, words) in RANGES.items()],
        "tiles": [*_live_tiles(request, runtimes, probed), *_range_tiles(rows)],
        "probes": [_probe(standing) for standing in probed or ()],
        "chart": _chart(rows, now, span, step),
        "latencies": _latencies(now - span, runtimes),
        "clients": _busiest(rows),
        "failing": _failing(rows, runtimes),
        "empty": empty,
        "steps": _first_steps() if empty else [],
    }


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
    running = Execution.objects.filter(status=Status.RUNNING).count()
    yield Tile(
        "Running",
        str(running),
        f"of at most {settings.SANDBOX_WORKERS} per node",
        f"{executions}?status__exact=running",
    )
    current = Q(runtime_revision=F("runtime__revision"))
    ready = Sandbox.objects.filter(current, state=SandboxState.READY).count()
    wanted = sum(runtime.pool_min for runtime in runtimes.values() if runtime.enabled)
    yield Tile(
        "Warm sandboxes", str(ready), f"minimum {wanted}", reverse("admin:pool"),
        "warning" if ready < wanted else "ok",
    )  # fmt: skip
    alive = liveness.keeper_alive(settings.SANDBOX_NODE), bool(liveness.workers_alive(settings.SANDBOX_NODE))
    missing = [name for name, there in zip(("keeper", "worker"), alive, strict=True) if not there]
    node = f"node {settings.SANDBOX_NODE}"
    yield Tile(
        "Service", "down" if missing else "up", f"no {' and no '.join(missing)} on {node}" if missing else node,
        reverse("admin:doctor"), "broken" if missing else "ok",
    )  # fmt: skip
    if request.user.has_perm("audit.view_seal"):
        yield _seal_tile()
    if probed is not None:
        yield _probe_tile(probed)


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


def _range_tiles(rows: list[dict[str, Any]]) -> Iterable[Tile]:
    total = sum(row["count"] for row in rows)
    ended = Counter[str]()
    for row in rows:
        ended[row["status"]] += row["count"]
    warm, cold = sum(row["warm"] for row in rows), sum(row["cold"] for row in rows)
    succeeded = _share(ended[Status.SUCCEEDED], total)
    yield Tile("Executions", f"{total:,}", f"{succeeded} succeeded")
    yield Tile("Warm starts", _share(warm, warm + cold), f"{cold:,} cold")
    failures = ended[Status.PLATFORM_ERROR]
    link = f"{reverse('admin:executions_execution_changelist')}?status__exact=platform_error"
    yield Tile("Platform errors", f"{failures:,}", _share(failures, total), link, "broken" if failures else "ok")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


def _chart(rows: list[dict[str, Any]], now: datetime, span: timedelta, step: timedelta) -> dict[str, Any]:
    begin = figures.floor_hour(now - span)
    slots = (figures.floor_hour(now) - begin) // step + 1
    series = {name: [0] * slots for name in SERIES}
    for row in rows:
        slot = (row["hour"] - begin) // step
        if 0 <= slot < slots:
            series[GROUPS.get(row["status"], "open")][slot] += row["count"]
    form = "%H:%M" if step <= timedelta(hours=1) else "%d %b %H:%M" if step < timedelta(days=1) else "%d %b"
    return {
        "labels": [f"{begin + slot * step:{form}}" for slot in range(slots)],
        "series": [{"name": name, "values": values} for name, values in series.items() if any(values)],
    }


def _latencies(since: datetime, runtimes: dict[int, Runtime]) -> list[dict[str, Any]]:
    found = []
    for key, times in figures.times(since).items():
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


def _busiest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    numbers = Counter[int | None]()
    for row in rows:
        numbers[row["client_id"]] += row["count"]
    names = dict(Client.objects.filter(pk__in=[key for key in numbers if key]).values_list("pk", "name"))
    total = sum(numbers.values())
    return [
        {
            "name": names.get(key or 0, "no client"),
            "key": key,
            "count": number,
            "share": round(100 * number / total),
        }
        for key, number in numbers.most_common(MOST_CLIENTS)
    ]


def _failing(rows: list[dict[str, Any]], runtimes: dict[int, Runtime]) -> list[dict[str, Any]]:
    totals: Counter[int] = Counter()
    trouble: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        totals[row["runtime_id"]] += row["count"]
        if row["status"] in TROUBLE:
            trouble[row["runtime_id"]][row["status"]] += row["count"]
    found = [
        {
            "runtime": _slug(runtimes, key),
            "key": key,
            "count": sum(kinds.values()),
            "share": _share(sum(kinds.values()), totals[key]),
            "why": ", ".join(f"{number:,} {Status(kind).label.lower()}" for kind, number in kinds.most_common()),
        }
        for key, kinds in trouble.items()
    ]
    return sorted(found, key=lambda row: -row["count"])


def _first_steps() -> list[dict[str, str]]:
    return [
        {"title": "Run a program here", "link": reverse("admin:playground"), "text":
            "The playground has examples, and shows result, output and timings of a run."},
        {"title": "Create a client and its token", "link": reverse("admin:clients_client_changelist"), "text":
            "Give each calling deployment its own client, with runtimes, caps and quotas."},
        {"title": "Connect RAGFlow", "link": "/docs", "text":
            "POST /run on this port replaces RAGFlow's executor manager. Other callers use /api/v1."},
        {"title": "Check the installation", "link": reverse("admin:doctor"), "text":
            "The doctor verifies gVisor, resource limits and network isolation in live sandboxes."},
    ]  # fmt: skip
