"""Converts times and parts of ids to ids. Ids are UUIDv7, so they are ordered by time."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

# An id is made at most this long before its execution is queued.
ID_IS_EARLIER = timedelta(minutes=5)
# Digits of the short id, the end of an id: neighbours share its begin, which is their time.
SHORT = 12
DIGITS = 32
# A shorter part is more likely a word, and the begin of very many ids.
FEWEST_DIGITS = 8
_PART = re.compile(r"[0-9a-f]{1,8}(?:-?[0-9a-f]{1,4}){0,3}(?:-?[0-9a-f]{1,12})?", re.IGNORECASE)


def short_id(pk: UUID) -> str:
    return str(pk)[-SHORT:]


def digits_of(text: str) -> str:
    """Return the hexadecimal digits of a text that may be a part of an id, else ""."""
    digits = text.replace("-", "").lower()
    return digits if _PART.fullmatch(text) and FEWEST_DIGITS <= len(digits) <= DIGITS else ""


def ids_from(digits: str) -> tuple[UUID, UUID]:
    """Return the lowest and the highest id that begins with the digits."""
    return UUID(digits.ljust(DIGITS, "0")), UUID(digits.ljust(DIGITS, "f"))


def first_id(at: datetime, shift: timedelta = timedelta(0)) -> UUID:
    """Return the lowest id of the millisecond that is `shift` after the time. Neither end of the calendar overflows."""
    milliseconds = (at - datetime.fromtimestamp(0, UTC) + shift) // timedelta(milliseconds=1)
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)


def made_at(pk: UUID) -> datetime:
    """Return when the id was made, in whole milliseconds. Of an id that no clock makes: the end of the calendar."""
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=pk.int >> 80)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
