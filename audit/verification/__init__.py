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
from audit.verification.rows import Existing, check_content, check_strays, check_unsealed
from audit.verification.tail import check_tail

__all__ = ["Chain", "Finding", "statements", "verify"]


def verify(
    *, head: tuple[int, str] | None = None, heads: Path | None = None, fingerprints: Sequence[str] = ()
) -> Iterator[Finding]:
    """Yield every mismatch.

    `head`: number and hash of a seal that was noted outside the database. `heads`: a file of heads that left the
    machine. `fingerprints`: keys that are trusted, above all the first one; without them, the first key is believed.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL TimeZone TO 'UTC'")
        chain = Chain(fingerprints)
        yield from chain.findings()
        for seal in Seal.objects.order_by("sequence").iterator(chunk_size=100):
            yield from chain.check(seal)
        if head:
            yield from check_head(*head)
        yield from chain.check_end(heads, everything=True)


class Chain:
    """Compares seals in their order: with the seal before, with the keys, and with the rows that they cover.

    `begin`: the number of the first seal to compare. What lies before it is taken as it is.
    """

    def __init__(self, fingerprints: Sequence[str] = (), *, begin: int = 1) -> None:
        self._keys = KeyChain(fingerprints)
        self._existing = Existing()
        self.previous = Seal.objects.filter(sequence__lt=begin).order_by("-sequence").first()
        if self.previous:
            self._keys.begin_after(self.previous)

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with the keys."""
        yield from self._keys.findings

    def check(self, seal: Seal) -> Iterator[Finding]:
        yield from _check_link(seal, self.previous)
        yield from self._keys.check(seal, self.previous)
        yield from check_content(seal, self._existing)
        self.previous = seal

    def check_end(self, heads: Path | None, *, everything: bool) -> Iterator[Finding]:
        """Yield what follows the newest seal: rows without a seal. `everything`: all seals have been compared."""
        newest = Seal.objects.order_by("-sequence").first()
        yield from check_tail(newest)
        if everything:
            if heads:
                yield from check_heads(heads, newest, self._keys)
            yield from check_strays()
        for source in SOURCES:
            yield from check_unsealed(source, newest)
        if everything:
            yield from check_purges()

    def check_reached(self, last: int) -> Iterator[Finding]:
        """Yield the seals up to `last` that are missing."""
        reached = self.previous.sequence if self.previous else 0
        if reached < last:
            missing = str(last) if reached == last - 1 else f"{reached + 1} to {last}"
            yield Finding("audit_seal", missing, "missing: deleted")


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
