"""How the trail is read: every watched table along its own indexes.

django-pghistory reads each table as a whole, and builds the JSON of every row before it sorts and filters them. Here
the tables stay apart for Postgres, so that it merges them along their indexes and builds what is asked for.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.db.models import Q, TextField, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Replace, Upper
from pghistory.models import EventsQuery, EventsQueryCompiler, EventsQuerySet
from psycopg.errors import QueryCanceled

from audit.models import TrailEntry
from audit.models.changes import ACT, EVENTS, LABELS

# Of an entry's primary key: the name of the event model, and the event's key.
SEPARATOR = ":"
SORTED = "ORDER BY _event.pgh_id"
ROW = "row_to_json(_event) AS _curr_data,"
FIRST = "CONCAT("
# The column with the text for searches, and what its function writes for a dot: migrations/trail_indexes.sql.
TEXT, DOT = "text", "Q0Z"
# Of entries with a text, the newest are found by walking back through the trail, if that is quick, else by the text's
# trigrams. Postgres does not know how frequent a text is.
WALK_MS, LOOK_UP_MS = 150, 1000
WALK = {
    "enable_bitmapscan": "off", "enable_seqscan": "off", "enable_sort": "off", "jit": "off",
    "max_parallel_workers_per_gather": "0",
}  # fmt: skip
LOOK_UP = {"enable_indexscan": "off", "enable_seqscan": "off", "jit": "off"}


class TrailCompiler(EventsQueryCompiler):
    def _get_select(self, event_model: Any) -> str:
        """Return the statement for one table, with the text for searches, and without an order of its own."""
        select: str = super()._get_select(event_model)  # type: ignore[no-untyped-call]
        for found, instead in (
            (SORTED, ""),  # an order would keep Postgres from merging the tables along another one
            (ROW, f"{ROW} audit_text(_event) AS _text,"),
            (FIRST, f"_pgh_obj_event._text AS pgh_text, {FIRST}"),
        ):
            if select.count(found) != 1:
                raise NotImplementedError(f"another statement of django-pghistory: {found!r}")
            select = select.replace(found, instead)
        return select


class TrailQuery(EventsQuery):
    def get_compiler(self, *args: Any, **kwargs: Any) -> Any:
        compiler: Any = super().get_compiler(*args, **kwargs)  # type: ignore[no-untyped-call]
        compiler.__class__ = TrailCompiler
        return compiler


def trail() -> Any:
    """Return all entries, the newest first."""
    # pghistory's default manager returns no rows, so that Django's own commands ignore this model.
    query: Any = TrailQuery(TrailEntry)  # type: ignore[no-untyped-call]
    entries: Any = EventsQuerySet(TrailEntry, query)  # type: ignore[no-untyped-call]
    return entries.order_by("-pgh_created_at", "-pgh_slug")


def containing(entries: Any, text: str) -> Any:
    """Keep the entries that contain the text: in the row as it was then, or in who, where and how."""
    return _with_json(entries, json.dumps(text, ensure_ascii=False)[1:-1])


def _with_json(entries: Any, *texts: str) -> Any:
    """Keep the entries whose JSON contains one of the texts."""
    column = RawSQL(f"{TrailEntry._meta.db_table}.pgh_text", (), output_field=TextField())  # noqa: S611
    wanted = (Replace(Upper(Value(text)), Value("."), Value(DOT)) for text in texts)
    which = Q(*(Q(**{f"{TEXT}__contains": text}) for text in wanted), _connector=Q.OR)
    return entries.alias(**{TEXT: column}).filter(which)


def made_by(entries: Any, text: str) -> Any:
    """Keep what was done by an actor that the web tier recorded, or by a database session, whose name has the text."""
    who = Q(actor__icontains=text)
    for name in ("role", "application"):
        who |= Q(**{f"pgh_context__database__{name}__icontains": text})
    # The index finds the text; these look where it is.
    return containing(entries, text).filter(who)


def about(entries: Any, username: str) -> Any:
    """Keep what is about a person: their account, roles, factors, identity, logins and sessions, by whomever."""
    name = f"user {username}"
    user = User.objects.filter(username=username).values_list("pk", flat=True).first()
    values: dict[str, Any] = {"username": username, "name": name, "behalf": name} | (
        {"user_id": user} if user else {}
    )
    pairs = (json.dumps({key: value}, ensure_ascii=False, separators=(",", ":")) for key, value in values.items())
    # The index finds the texts; the rest looks where they are.
    found = _with_json(entries, *(pair[1:-1] for pair in pairs))
    where = Q(pgh_data__username=username) | (Q(pgh_data__user_id=user) if user else Q())
    return found.filter(where | Q(pgh_obj_model=ACT) & (Q(pgh_data__name=name) | Q(pgh_data__behalf=name)))


def changed(entries: Any, code: str) -> Any:
    """Keep what happened: see TrailEntry.code."""
    if code in LABELS:
        return entries.filter(pgh_label=code)
    return _with_json(entries, f'"kind":"{code}"').filter(pgh_obj_model=ACT, pgh_data__kind=code)


class TooFrequent(Exception):
    """The trigrams of a text are in too many entries, or it has none: it is shorter than three characters."""


def newest(entries: Any, most: int) -> list[str]:
    """Return the primary keys of the first `most` entries. Raises TooFrequent.

    `entries`: with a condition about their text.
    """
    keys = entries.values_list("pgh_slug", flat=True)[:most]
    found = _within(keys, WALK, WALK_MS)
    if found is None:
        found = _within(keys, LOOK_UP, LOOK_UP_MS)
    if found is None:
        raise TooFrequent
    return found


def _within(keys: Any, settings: dict[str, str], ms: int) -> list[str] | None:
    """Read the keys with the planner's settings; return None if that takes longer than so many milliseconds."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            limits = {**settings, "statement_timeout": str(ms)}
            cursor.execute("; ".join(f"SET LOCAL {name} TO {value}" for name, value in limits.items()))
            found = list(keys)
            # Within an outer transaction they would stay.
            cursor.execute("; ".join(f"SET LOCAL {name} TO DEFAULT" for name in limits))
    except OperationalError as e:
        if isinstance(e.__cause__, QueryCanceled):
            return None
        raise
    return found


def named(slugs: Iterable[str]) -> list[TrailEntry]:
    """Return the entries with these primary keys, in their order, without those that do not exist."""
    ids: dict[str, list[int]] = defaultdict(list)
    slugs = list(slugs)
    for slug in slugs:
        model, separator, number = slug.partition(SEPARATOR)
        if separator and number.isascii() and number.isdigit() and len(number) < 10:
            ids[model].append(int(number))
    events = [event for event in EVENTS if event._meta.label in ids]
    if not events:
        return []
    which = Q(*((Q(pgh_model=model, pgh_id__in=keys)) for model, keys in ids.items()), _connector=Q.OR)
    found = {entry.pk: entry for entry in trail().order_by().across(*events).filter(which)}
    return [found[slug] for slug in slugs if slug in found]


def number() -> int:
    """Return how many entries there are."""
    counts = " UNION ALL ".join(f"SELECT count(*) FROM {event._meta.db_table}" for event in EVENTS)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT sum(count) FROM ({counts}) counts")  # noqa: S608
        total: int = int(cursor.fetchone()[0])
    return total
