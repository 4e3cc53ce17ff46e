"""The page of usage and quotas, and the card on a client's page."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Min
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from clients.models import Client
from runtimes.models import Runtime
from sandbox_platform.kit import acts, html
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.exports import as_download
from sandbox_platform.kit.ranges import TimeRange, picker
from sandbox_platform.kit.units import format_bytes, format_ms
from usage import export, figures, rollup
from usage.figures import CLIENT, DAY, RUNTIME, Row, Scope
from usage.models import HourlyUsage, Price
from usage.models.price import GIB

MAY_VIEW = "usage.view_hourlyusage"
DEFAULT_RANGE = "30d"
DEFAULT = "client"
SPLITS = {
    "client": ("Client", (CLIENT,)),
    "client-day": ("Client and day", (CLIENT, DAY)),
    "client-runtime": ("Client and runtime", (CLIENT, RUNTIME)),
    "runtime": ("Runtime", (RUNTIME,)),
    "day": ("Day", (DAY,)),
}
# Rows of a page; the CSV file has all.
SHOWN = 200
CARD_DAYS = 7
# Of a quota: from here on, the alerts that are on from the start fire.
NEARLY = 0.9


def page(request: HttpRequest, *, site: Any) -> HttpResponseBase:
    if not request.user.has_perm(MAY_VIEW):
        raise PermissionDenied
    chosen = TimeRange.of(request, DEFAULT_RANGE)
    scope, filters = _scope(request, chosen)
    split = request.GET.get("by", DEFAULT)
    split = split if split in SPLITS else DEFAULT
    groups = SPLITS[split][1]
    try:
        rows = figures.rows(scope, groups)
    except figures.TooManyRows:
        messages.error(request, "Too many rows. Choose a shorter time, or split by less.")
        rows = []
    if request.GET.get("format") == "csv":
        acts.done(Kind.EXPORTED, "usage", http=request, after=acts.query_of(request))
        return as_download("usage", "csv", export.csv(rows))
    total, kinds = figures.total(scope), figures.kinds(rows)
    has_quotas = any(row.daily_quota or row.stored_quota for row in rows)
    answer: HttpResponse = site.page(
        request,
        "usage/usage.html",
        "Usage and quotas",
        picker=picker(request, chosen, everything=False),
        since=scope.since,
        until=min(scope.until, timezone.now()),
        splits=[(_query(request, by=name), words, name == split) for name, (words, _) in SPLITS.items()],
        filters=filters,
        csv=_query(request, format="csv"),
        tiles=_tiles(total),
        columns=groups,
        rows=[_shown(request, row, groups) for row in rows[:SHOWN]],
        left_out=max(len(rows) - SHOWN, 0),
        has_stored=RUNTIME not in groups and scope.runtime_id is None,
        has_quotas=has_quotas,
        has_costs=bool(total.costs),
        kinds=kinds,
        refused=[
            {
                "names": _names(row, groups),
                "counts": [(row.refused.get(kind.value, 0), kind.label) for kind in kinds],
            }
            for row in rows[:SHOWN]
            if row.refused
        ],
        counted=rollup.counted_up_to(),
        behind=rollup.is_behind(),
        may_price=request.user.has_perm("usage.view_price"),
        priced=Price.objects.exists(),
    )
    return answer


def _scope(request: HttpRequest, chosen: TimeRange) -> tuple[Scope, list[dict[str, str]]]:
    now = timezone.now()
    until = min(chosen.until or now, now)
    since = chosen.since or HourlyUsage.objects.aggregate(first=Min("hour"))["first"] or until
    since, until = figures.hours_of(min(since, until), until)
    client = _found(Client, request.GET.get("client", ""))
    runtime = _found(Runtime, request.GET.get("runtime", ""))
    filters = [
        {"title": title, "name": str(row), "query": _query(request, **{title: ""})}
        for title, row in (("client", client), ("runtime", runtime))
        if row is not None
    ]
    keys = (client.pk if client else None, runtime.pk if runtime else None)
    return Scope(since, max(until, since), client is None, *keys), filters


def _found(model: Any, key: str) -> Any:
    return model.objects.filter(pk=int(key)).first() if key.isascii() and key.isdigit() and len(key) < 18 else None


def _query(request: HttpRequest, **values: str) -> str:
    """Return the page's query with these parameters; an empty value removes one."""
    query = request.GET.copy()
    query.pop("format", None)
    for name, value in values.items():
        query[name] = value
        if not value:
            del query[name]
    return query.urlencode()


def _tiles(total: Row) -> list[dict[str, str]]:
    tiles = [
        {"title": "Runs", "value": f"{total.runs:,}", "note": f"{total.rejected:,} rejected"},
        {"title": "CPU time", "value": _time(total.cpu_ms), "note": "of whole sandboxes"},
        {"title": "Memory", "value": gib_seconds(total.memory_byte_seconds), "note": "peak memory times duration"},
        {"title": "Egress", "value": format_bytes(total.egress_bytes), "note": "sent and received"},
        {"title": "Refused requests", "value": f"{total.refusals:,}", "note": "quotas, places, permissions"},
    ]
    if total.stored_bytes is not None:
        note = f"{total.stored_byte_hours / 24 / GIB:,.2f} GiB-days" if total.stored_byte_hours else ""
        tiles.insert(4, {"title": "Stored history", "value": format_bytes(total.stored_bytes), "note": note})
    if total.costs:
        tiles.append({"title": "Cost", "value": costs(total.costs), "note": "at each day's price"})
    return tiles


def _shown(request: HttpRequest, row: Row, groups: Iterable[str]) -> dict[str, Any]:
    return {
        "names": _names(row, groups),
        "links": _links(request, row, groups),
        "is_client": row.client_id is not None,
        "runs": f"{row.runs:,}",
        "rejected": row.rejected,
        "cpu": _time(row.cpu_ms),
        "memory": gib_seconds(row.memory_byte_seconds),
        "egress": format_bytes(row.egress_bytes),
        "stored": "" if row.stored_bytes is None else format_bytes(row.stored_bytes),
        "daily": _share(row.daily_share, f"{row.busiest_day_runs or 0:,}", f"{row.daily_quota or 0:,}"),
        "storage": _share(
            row.stored_share, format_bytes(row.stored_bytes or 0), format_bytes(row.stored_quota or 0)
        ),
        "refused": row.refusals,
        "cost": costs(row.costs),
    }


def _names(row: Row, groups: Iterable[str]) -> list[str]:
    """Return the values of the group's columns."""
    values = {
        DAY: f"{row.day:%Y-%m-%d}" if row.day else "",
        CLIENT: row.client or "no client",
        RUNTIME: row.runtime or "not known",
    }
    return [values[group] for group in groups]


def _links(request: HttpRequest, row: Row, groups: Iterable[str]) -> list[dict[str, str]]:
    keys = {CLIENT: row.client_id, RUNTIME: row.runtime_id, DAY: None}
    narrower = {CLIENT: "client-day", RUNTIME: "client-runtime"}
    return [
        {
            "title": group.capitalize(),
            "name": name,
            "query": _query(request, **{group: str(keys[group])}, by=narrower[group]) if keys[group] else "",
        }
        for group, name in zip(groups, _names(row, groups), strict=True)
    ]


def _share(share: float | None, used: str, quota: str) -> dict[str, Any] | None:
    if share is None:
        return None
    return {
        "percent": f"{100 * share:.0f} %",
        "words": f"{used} of {quota}",
        "full": share >= 1,
        "nearly": share >= NEARLY,
    }


def _time(ms: int) -> str:
    return format_ms(ms) if ms else "0 s"


def gib_seconds(byte_seconds: int) -> str:
    amount = byte_seconds / GIB
    return f"{amount:,.{0 if amount >= 1000 else 1}f} GiB·s" if amount >= 10 else f"{amount:.3g} GiB·s"


def costs(found: dict[str, Decimal]) -> str:
    return " + ".join(f"{_amount(amount)} {currency}" for currency, amount in sorted(found.items()))


def _amount(amount: Decimal) -> str:
    """Format with cents, or with the first two digits of less than that."""
    if not amount or amount >= Decimal("0.1"):
        return f"{amount:,.2f}"
    return f"{amount:.2g}" if amount >= Decimal("0.0001") else "under 0.0001"


def card(client: Client) -> SafeString:
    """Return a table of what the client used on each of the last days, with a link to all of it."""
    now = timezone.now().astimezone(UTC)
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC)
    since = midnight - timedelta(days=CARD_DAYS - 1)
    until = midnight + timedelta(days=1)
    rows = figures.rows(Scope(since, until, everybody=False, client_id=client.pk), (DAY,))
    address = f"{reverse('admin:usage')}?client={client.pk}&by=client-day"
    link = format_html('<p><a href="{}">Usage of {}</a></p>', address, client.name)
    if not rows:
        return format_html("{}{}", html.note(f"Nothing in the last {CARD_DAYS} days."), link)
    head = ("Day (UTC)", "Runs", "CPU", "Memory", "Egress", "Refused")
    columns = format_html_join("", '<th scope="col">{}</th>', ((title,) for title in head))
    body = format_html_join(
        "",
        '<tr><th scope="row">{}</th><td data-label="Runs">{}</td><td data-label="CPU">{}</td>'
        '<td data-label="Memory">{}</td><td data-label="Egress">{}</td><td data-label="Refused">{}</td></tr>',
        (
            (
                f"{row.day:%a %d %b}" if row.day else "",
                f"{row.runs:,}",
                _time(row.cpu_ms),
                gib_seconds(row.memory_byte_seconds),
                format_bytes(row.egress_bytes),
                f"{row.refusals:,}",
            )
            for row in rows
        ),
    )
    table = '<table class="facts stacked"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}'
    return format_html(table, columns, body, link)
