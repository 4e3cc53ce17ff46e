"""Records what people and clients do without changing a watched row, such as a cancellation or a download.

Who, what, when and from where. The record is written before the act, or in its transaction: without a record there is
no act.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sandbox_platform.kit.callers import origin_of
from sandbox_platform.kit.sources import Source

Values = dict[str, Any]
# Of a query string or a name that a caller chose.
LONGEST_VALUE = 1000


class Kind(StrEnum):
    """What was done. The trail shows these words."""

    CANCELLED = "cancelled"
    KILLED = "killed"
    DRAINED = "drained"
    TAKEN_BACK = "taken back"
    REMOVED = "removed"
    EXPORTED = "exported"
    DOWNLOADED = "downloaded"
    CHECKED = "checked"
    VERIFIED = "verified"
    TESTED = "tested"
    LOGGED_IN = "logged in"
    REFUSED_LOGIN = "refused login"
    ENDED = "ended"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Act:
    """`name`: the object, in words. `behalf`: whose object it is, in words. `context`: see callers.origin_of."""

    kind: Kind
    name: str
    object_id: str
    behalf: str = ""
    before: Values = field(default_factory=dict)
    after: Values = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


record: Source[[Act], None] = Source("where acts are recorded")


def done(
    kind: Kind,
    name: str,
    object_id: object = "",
    *,
    http: Any = None,
    behalf: str = "",
    before: Values | None = None,
    after: Values | None = None,
) -> None:
    """Record an act of the user or client of the request (Django's, or that of the REST framework).

    Without a request, the trail names the database session: its role, its command and its user.
    """
    context = {} if http is None else origin_of(http)
    record(Act(kind, name[:300], str(object_id), behalf[:200], before or {}, after or {}, context))


def query_of(http: Any) -> Values:
    """Return the filters of a request's URL, as the trail shows them."""
    return {name: ", ".join(values)[:LONGEST_VALUE] for name, values in http.GET.lists()}
