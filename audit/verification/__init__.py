"""Walk the chain of seals: compare every sealed row with its hashes, and every seal with its signature.

Nothing in the database is trusted by itself. A seal is trusted for its signature, a key for the signature of the key
before it, and the first key for its fingerprint, which the caller noted elsewhere.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from django.db import connection, transaction

from audit.models import Seal
from audit.sources import SOURCES
from audit.verification.findings import Finding
from audit.verification.heads import check_head, check_heads
from audit.verification.keys import KeyChain
from audit.verification.purges import check_purges
from audit.verification.rows import check_content, check_strays, check_unsealed
from audit.verification.tail import check_tail

__all__ = ["Finding", "statements", "verify"]


def verify(
    *, head: tuple[int, str] | None = None, heads: Path | None = None, fingerprints: Sequence[str] = ()
) -> Iterator[Finding]:
    """Yield every mismatch.

    `head`: number and hash of a seal that was noted outside the database. `heads`: a file of heads that left the
    machine. `fingerprints`: keys that are trusted, above all the first one; without them, the first key is believed.
    """
    previous = None
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL TimeZone TO 'UTC'")
        keys = KeyChain(fingerprints)
        yield from keys.findings
        for seal in Seal.objects.order_by("sequence").iterator(chunk_size=100):
            yield from _check_link(seal, previous)
            yield from keys.check(seal, previous)
            yield from check_content(seal)
            previous = seal
        yield from check_tail(previous)
        if head:
            yield from check_head(*head)
        if heads:
            yield from check_heads(heads, previous, keys)
        yield from check_strays()
        for source in SOURCES:
            yield from check_unsealed(source, previous)
        yield from check_purges()


def statements() -> Iterator[str]:
    """Yield, in words, what seals state about the seals before them. Verification checks their signatures."""
    for seal in Seal.objects.filter(statement__isnull=False).order_by("sequence").iterator():
        on = f"{seal}, {seal.created_at:%Y-%m-%d %H:%M:%S}, states"
        statement = seal.statement or {}
        if head := statement.get(Seal.UNSIGNED):
            yield f"{on}: everything up to {head} was sealed without a key, and is vouched for since then only."
        if head := statement.get(Seal.RESTORED):
            yield f"{on}: a backup was restored. The seals of before, up to {head}, were replaced."


def _check_link(seal: Seal, previous: Seal | None) -> Iterator[Finding]:
    expected = previous.sequence + 1 if previous else 1
    if seal.sequence != expected:
        missing = str(expected) if seal.sequence == expected + 1 else f"{expected} to {seal.sequence - 1}"
        yield Finding("audit_seal", missing, "missing: deleted", seal)
    elif seal.previous != (previous.hash if previous else ""):
        yield Finding("audit_seal", str(seal.sequence), "not chained to the seal before it", seal)
