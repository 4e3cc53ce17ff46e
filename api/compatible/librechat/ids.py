"""LibreChat's ids, which it checks: 21 letters, digits, - and _.

That is enough for all of an execution's id that differs from others: 122 bits. An id names something of its client
only, whoever knows it.
"""

import base64
import binascii
from uuid import UUID

from django.utils.crypto import salted_hmac

_VERSION, _VARIANT = 7, 2
# The digits of base64 that hold bits which differ: the first of 22 has none of them.
_FIRST = "A"
_LENGTH = 21


def session_of(pk: UUID) -> str:
    """Return the session that stands for the execution."""
    number = pk.int
    differing = (number >> 80) << 74 | (number >> 64 & 0xFFF) << 62 | number & (1 << 62) - 1
    return base64.urlsafe_b64encode(differing.to_bytes(16)).decode()[1 : 1 + _LENGTH]


def pk_of(session: str) -> UUID | None:
    """Return the id of the execution; None for a text that is no session."""
    if len(session) != _LENGTH or not session.isascii():
        return None
    try:
        differing = int.from_bytes(base64.b64decode(f"{_FIRST}{session}==", altchars=b"-_", validate=True))
    except binascii.Error:
        return None
    time, random = differing >> 74, differing & (1 << 74) - 1
    pk = UUID(int=time << 80 | _VERSION << 76 | (random >> 62) << 64 | _VARIANT << 62 | random & (1 << 62) - 1)
    # The last digit has bits to spare.
    return pk if session_of(pk) == session else None


def file_id(kind: str, pk: int) -> str:
    """Return the id of a file, which nobody can tell from its number."""
    digest = salted_hmac("librechat.file", f"{kind}:{pk}", algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).decode()[:_LENGTH]
