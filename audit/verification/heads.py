"""Compare the seals with heads that left the machine."""

import json
from collections.abc import Iterator
from pathlib import Path

from audit.heads import signed_by
from audit.models import Seal
from audit.verification.findings import LATE, Finding
from audit.verification.keys import KeyChain


def check_head(sequence: int, hash_: str) -> Iterator[Finding]:
    """Compare one head, which a person noted."""
    seal = Seal.objects.filter(sequence=sequence).first()
    if seal is None:
        yield Finding("audit_seal", str(sequence), "missing, but noted outside the database")
    elif seal.hash != hash_.lower():
        yield Finding("audit_seal", str(sequence), "differs from the seal noted outside the database", seal)


def check_heads(path: Path, last: Seal | None, keys: KeyChain) -> Iterator[Finding]:
    """Compare a file of heads, one JSON object a line, as `audit.heads` writes it."""
    replaced = list(_replaced(keys))
    newest: int | None = None
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                head = json.loads(line)
                sequence, hash_ = int(head["sequence"]), str(head["hash"])
                valid = keys.signed(*signed_by(head))
            except (KeyError, TypeError, ValueError):
                yield Finding(str(path), f"line {number}", "is not the head of a seal")
                continue
            newest = sequence
            if not valid:
                yield Finding(str(path), f"line {number}", f"seal {sequence}: its signature is wrong")
            elif not any(first <= sequence <= end for first, end in replaced) or _is_there(sequence, hash_):
                yield from check_head(sequence, hash_)
    yield from _check_newest(path, last, newest)


def _is_there(sequence: int, hash_: str) -> bool:
    return Seal.objects.filter(sequence=sequence, hash=hash_).exists()


def _replaced(keys: KeyChain) -> Iterator[tuple[int, int]]:
    """Yield the numbers of seals that a restored backup replaced, by the signed word of the sealing process."""
    for seal in Seal.objects.filter(statement__has_key=Seal.RESTORED):
        if seal.computed_hash() == seal.hash and keys.signed(seal.key, seal.signed, bytes(seal.signature or b"")):
            yield seal.sequence, int((seal.statement or {})[Seal.RESTORED].partition(":")[0])


def _check_newest(path: Path, last: Seal | None, newest: int | None) -> Iterator[Finding]:
    if last is None or (newest and newest >= last.sequence):
        return
    if newest is None:
        yield Finding(
            str(path), "", "holds no head of a seal: heads do not leave the machine, or were removed", last
        )
        return
    left = Seal.objects.filter(sequence=newest).first()
    if left and last.created_at - left.created_at > LATE:
        yield Finding(
            str(path), "", f"no head of a seal after {left.sequence}: heads do not leave the machine", last
        )
