"""What clients used, from the counted hours and the executions that have ended since, in rows for pages and answers."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone

from clients.models import Client
from executions import figures
from runtimes.models import Runtime
from usage import rollup
from usage.models import Counted, DailyUsage, HourlyUsage, Price, Refusal, StoredSample
from usage.refusals import Kind
from usage.rollup import QUANTITIES

DAY, CLIENT, RUNTIME = "day", "client", "runtime"
GROUPS = (DAY, CLIENT, RUNTIME)
# SQL of each group's key, in the order of GROUPS.
KEYS = {DAY: "(hour AT TIME ZONE 'UTC')::date", CLIENT: "client_id", RUNTIME: "runtime_id"}
# Executions since the last counted hour are read one by one: hours of some minutes, normally, and at most this much.
LIVE = timedelta(days=2)
# Beyond, a reader is asked for fewer groups or a shorter time.
MOST_ROWS = 20_000
Key = tuple[date | None, int | None, int | None]
OF_CLIENT = "(%(all)s OR client_id IS NOT DISTINCT FROM %(client)s)"
OF_RUNTIME = "(%(runtime)s::bigint IS NULL OR runtime_id = %(runtime)s)"
TIME = "hour >= %(since)s AND hour < %(until)s"
COLUMNS = ", ".join(("client_id", "runtime_id", *QUANTITIES))
HOURS = f"SELECT hour, {COLUMNS} FROM {HourlyUsage._meta.db_table}"  # noqa: S608
# Of full days, their sums; of the hours before and after them, and of what is not counted yet, each.
USED = f"""
    SELECT {{keys}}, {{period}} AS period, {", ".join(f"sum({name})::bigint AS {name}" for name in QUANTITIES)}
    FROM (
        {HOURS} WHERE hour >= %(since)s AND hour < %(first)s
        UNION ALL SELECT day, {COLUMNS} FROM {DailyUsage._meta.db_table} WHERE day >= %(first)s AND day < %(last)s
        UNION ALL {HOURS} WHERE hour >= %(last)s AND hour < %(until)s
        UNION ALL
        {rollup.USED} e.queued_at >= %(live)s AND e.queued_at < %(until)s GROUP BY 1, 2, 3
    ) used WHERE {OF_CLIENT} AND {OF_RUNTIME} GROUP BY 1, 2, 3, 4 LIMIT %(most)s
"""  # noqa: S608
STORED = f"""
    SELECT {{keys}}, {{period}} AS period, sum(bytes)::bigint AS stored_byte_hours,
        coalesce(sum(bytes) FILTER (WHERE hour = last), 0)::bigint AS stored_bytes
    FROM (
        SELECT hour, client_id, NULL::bigint AS runtime_id, bytes, {{last}} AS last
        FROM {StoredSample._meta.db_table} WHERE {TIME} AND (%(all)s OR client_id = %(client)s)
    ) stored GROUP BY 1, 2, 3, 4 LIMIT %(most)s
"""  # noqa: S608
REFUSED = f"""
    SELECT {{keys}}, kind, sum(count)::bigint AS count
    FROM {Refusal._meta.db_table} WHERE {TIME} AND {OF_CLIENT} AND {OF_RUNTIME} GROUP BY 1, 2, 3, 4 LIMIT %(most)s
"""  # noqa: S608


class TooManyRows(Exception):
    pass


@dataclass(frozen=True)
class Scope:
    """Whose usage, of when. `since` and `until`: whole hours. `everybody`: of all clients, whatever `client_id` is."""

    since: datetime
    until: datetime
    everybody: bool = True
    client_id: int | None = None
    runtime_id: int | None = None


@dataclass
class Row:
    """One group. Its keys are None for what it is not grouped by, or for a client or runtime that is not known.

    `started`: runs but for the rejected. `stored_*`: None in groups of a runtime, to which storage does not belong.
    """

    day: date | None
    client_id: int | None
    runtime_id: int | None
    client: str | None = None
    runtime: str | None = None
    runs: int = 0
    rejected: int = 0
    cpu_ms: int = 0
    memory_byte_seconds: int = 0
    egress_bytes: int = 0
    stored_byte_hours: int | None = None
    stored_bytes: int | None = None
    refused: dict[str, int] = field(default_factory=dict)
    costs: dict[str, Decimal] = field(default_factory=dict)
    # Of rows of a client: its quotas as they are now, and the runs of its busiest day.
    daily_quota: int | None = None
    busiest_day_runs: int | None = None
    stored_quota: int | None = None

    @property
    def started(self) -> int:
        return self.runs - self.rejected

    @property
    def refusals(self) -> int:
        return sum(self.refused.values())

    @property
    def daily_share(self) -> float | None:
        """Return what share of the daily quota the busiest day used; None without a quota."""
        return (self.busiest_day_runs or 0) / self.daily_quota if self.daily_quota else None

    @property
    def stored_share(self) -> float | None:
        return (self.stored_bytes or 0) / self.stored_quota if self.stored_quota else None


def hours_of(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Return the whole hours that cover a time."""
    return figures.floor_hour(since), figures.floor_hour(until - timedelta(microseconds=1)) + figures.HOUR


def rows(scope: Scope, groups: Iterable[str]) -> list[Row]:
    """Return a row for each group that used something or was refused something, by day, client and runtime.

    Raises TooManyRows.
    """
    chosen = [group for group in GROUPS if group in set(groups)]
    found = _Found(scope, chosen, list(Price.objects.order_by("from_day")))
    found.read(USED)
    if RUNTIME not in chosen and scope.runtime_id is None:
        found.read(STORED)
    found.read(REFUSED)
    listed = list(found.rows.values())
    _name(listed, chosen)
    if CLIENT in chosen and RUNTIME not in chosen and scope.runtime_id is None:
        _compare(listed, scope, by_day=DAY in chosen)
    return sorted(listed, key=lambda row: (row.day or date.min, row.client or "", row.runtime or ""))


def total(scope: Scope) -> Row:
    return next(iter(rows(scope, ())), Row(None, None, None))


class _Found:
    """Collects the rows of the queries by their keys."""

    def __init__(self, scope: Scope, groups: list[str], prices: list[Price]) -> None:
        self.rows: dict[Key, Row] = {}
        self._scope, self._groups, self._prices = scope, groups, prices

    def read(self, query: str) -> None:
        keys = ", ".join(
            f"{KEYS[name] if name in self._groups else 'NULL'}{_type(name)} AS {name}" for name in GROUPS
        )
        # The last hour with samples, of each group.
        last = "max(hour) OVER (PARTITION BY {})".format(KEYS[DAY] if DAY in self._groups else "1")
        period = "width_bucket(hour, %(begins)s::timestamptz[])" if self._prices else "0"
        scope = self._scope
        counted = Counted.objects.first() if query is USED else None
        days = figures.summed_days(scope.since, scope.until, counted.days_up_to if counted else None)
        parameters: dict[str, Any] = {
            "since": scope.since,
            "until": scope.until,
            "all": scope.everybody,
            "client": scope.client_id,
            "runtime": scope.runtime_id,
            "live": max(scope.since, counted.up_to if counted else scope.since, timezone.now() - LIVE),
            "first": days[0],
            "last": days[1],
            "begins": [price.begins for price in self._prices],
            "most": MOST_ROWS + 1,
        }
        with connection.cursor() as cursor:
            cursor.execute(query.format(keys=keys, period=period, last=last), parameters)
            names = [column.name for column in cursor.description or ()]
            read = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
        if len(read) > MOST_ROWS:
            raise TooManyRows
        for values in read:
            self._add(values)

    def _add(self, values: dict[str, Any]) -> None:
        key = (values.pop(DAY), values.pop(CLIENT), values.pop(RUNTIME))
        row = self.rows.setdefault(key, Row(*key))
        if "kind" in values:
            row.refused[values["kind"]] = row.refused.get(values["kind"], 0) + values["count"]
            return
        period = values.pop("period")
        price = self._prices[period - 1] if period else None
        for name, value in values.items():
            setattr(row, name, (getattr(row, name) or 0) + value)
        if price is not None and not price.is_free:
            if "runs" in values:
                values["started"] = values["runs"] - values["rejected"]
            row.costs[price.currency] = row.costs.get(price.currency, Decimal(0)) + price.cost(values)


def _type(name: str) -> str:
    return "::date" if name == DAY else "::bigint"


def _name(listed: list[Row], groups: list[str]) -> None:
    if CLIENT in groups:
        clients = dict(Client.objects.values_list("pk", "name"))
        for row in listed:
            row.client = _named(clients, row.client_id)
    if RUNTIME in groups:
        runtimes = dict(Runtime.objects.values_list("pk", "slug"))
        for row in listed:
            row.runtime = _named(runtimes, row.runtime_id)


def _named(names: dict[int, str], key: int | None) -> str | None:
    return None if key is None else names.get(key, f"deleted #{key}")


def _compare(listed: list[Row], scope: Scope, *, by_day: bool) -> None:
    """Add the clients' quotas to the rows."""
    clients = {client.pk: client for client in Client.objects.filter(pk__in=[row.client_id for row in listed])}
    busiest: dict[int | None, int] = defaultdict(int)
    if not by_day and any(client.max_runs_per_day for client in clients.values()):
        found = _Found(scope, [DAY, CLIENT], [])
        found.read(USED)
        for day in found.rows.values():
            busiest[day.client_id] = max(busiest[day.client_id], day.runs)
    for row in listed:
        client = clients.get(row.client_id or 0)
        if client is not None:
            row.daily_quota, row.stored_quota = client.max_runs_per_day, client.stored_limit
            if row.daily_quota:
                row.busiest_day_runs = row.runs if by_day else busiest[row.client_id]


def kinds(listed: Iterable[Row]) -> list[Kind]:
    """Return the kinds of refusals that occur in the rows, in the order of Kind."""
    seen = {kind for row in listed for kind in row.refused}
    return [kind for kind in Kind if kind.value in seen]
