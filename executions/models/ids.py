"""Converts times to ids. Ids are UUIDv7, so they are ordered by time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID


def first_id(at: datetime) -> UUID:
    """Return the lowest id of this millisecond."""
    milliseconds = (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)
