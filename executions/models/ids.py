"""Converts times to ids. Ids are UUIDv7, so they are ordered by time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID


def first_id(at: datetime, shift: timedelta = timedelta(0)) -> UUID:
    """Return the lowest id of the millisecond that is `shift` after the time. Neither end of the calendar overflows."""
    milliseconds = (at - datetime.fromtimestamp(0, UTC) + shift) // timedelta(milliseconds=1)
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)
