"""Which keys are trusted, and whether they signed the seals."""

from collections.abc import Iterator, Sequence

from audit.keys import fingerprint, is_signed
from audit.models import Seal, SealKey
from audit.models.seals import introduction
from audit.verification.findings import Finding


class KeyChain:
    """The keys in the database that lead back to a trusted one, in the order of their use."""

    def __init__(self, fingerprints: Sequence[str] = ()) -> None:
        """`fingerprints`: keys that are trusted without a signature. Empty: the first key is."""
        self._trusted: dict[str, tuple[int, bytes]] = {}
        self._newest = -1
        self.findings = list(self._build({text.lower() for text in fingerprints}))

    def _build(self, pinned: set[str]) -> Iterator[Finding]:
        rows = list(SealKey.objects.order_by("id"))
        for number, (row, before) in enumerate(zip(rows, [None, *rows], strict=False)):
            if problem := self._problem(row, before, pinned):
                yield Finding("audit_sealkey", row.fingerprint, problem)
            else:
                self._trusted[row.fingerprint] = number, bytes(row.public_key)
        for unknown in sorted(pinned - {row.fingerprint for row in rows}):
            yield Finding("audit_sealkey", unknown, "missing, but noted outside the database")

    def _problem(self, row: SealKey, before: SealKey | None, pinned: set[str]) -> str:
        if fingerprint(bytes(row.public_key)) != row.fingerprint:
            return "changed: this is not the fingerprint of the key"
        if row.fingerprint in pinned:
            return ""
        if before is None:
            return "the first key is not the one that was noted outside the database" if pinned else ""
        if row.previous != before.fingerprint or not self.signed(
            before.fingerprint, introduction(row), bytes(row.signature or b"")
        ):
            return "not signed by the key before it. If that one was lost, verify with --key of this one too"
        return ""

    def signed(self, by: str, message: bytes, signature: bytes) -> bool:
        """Return whether the trusted key with this fingerprint signed the message."""
        return by in self._trusted and is_signed(self._trusted[by][1], message, signature)

    def begin_after(self, seal: Seal) -> None:
        """Let the next seal to check be the one after this, which is not checked."""
        if seal.key in self._trusted:
            self._newest = self._trusted[seal.key][0]

    def check(self, seal: Seal, previous: Seal | None) -> Iterator[Finding]:
        """Yield what is wrong with the signature of a seal. Call it with the seals in their order."""
        if problem := self._unsigned(seal) if not seal.key else self._signed(seal, previous):
            yield Finding("audit_seal", str(seal.sequence), problem, seal)

    def _unsigned(self, seal: Seal) -> str:
        if self._newest >= 0:
            return "has no signature, although an earlier seal has one"
        # One finding for all of them. Before the first signature that is the newest seal's.
        if not Seal.objects.filter(sequence__gt=seal.sequence).exists():
            return "no seal up to this one is signed, or vouched for by a later one: run `manage.py seal` in the keeper"
        return ""

    def _signed(self, seal: Seal, previous: Seal | None) -> str:
        if seal.key not in self._trusted:
            return f"signed by a key that is not trusted: {seal.key}"
        if not self.signed(seal.key, seal.signed, bytes(seal.signature or b"")):
            return "its signature is wrong: not made by the process that seals"
        first, number = self._newest < 0, self._trusted[seal.key][0]
        if number < self._newest:
            return f"signed by a key that had been replaced: {seal.key}"
        self._newest = number
        if first and previous and (seal.statement or {}).get(Seal.UNSIGNED) != previous.head:
            return "the first seal with a signature does not vouch for the seals before it"
        return ""
