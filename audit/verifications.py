"""Verify a range of seals on request: by a worker, one at a time, seal by seal, within a time limit."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from audit.models import Seal, Verification
from audit.models.verifications import VerificationState
from audit.verification import Chain, Finding
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.errors import Conflicting
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import Task

VERIFY = Task("verify", "audit.verifications.run", senders=[Service.WEB])
# A worker compares about 20,000 changes a second; executions with much output take longer. Whatever is left after this
# time is another verification's.
LONGEST = timedelta(minutes=30)
# Findings that are stored as text; the others are counted.
STORED_FINDINGS = 200


# Seals of more than a year.
MOST_SEALS = 10_000


class Refused(Conflicting):
    """No verification is queued. The text is for the person."""


def start(first: int, last: int, *, by: str, http: Any) -> Verification:
    """Queue the verification of the seals `first` to `last`. Raises Refused."""
    if last - first >= MOST_SEALS:
        raise Refused(f"{MOST_SEALS:,} seals at most are verified at a time.", remedy="Choose a shorter range.")
    now = timezone.now()
    Verification.objects.close_lost()
    try:
        with transaction.atomic():
            row = Verification.objects.create(
                first=first, last=last, requested_by=by, requested_at=now, progress_at=now
            )
            acts.done(Kind.VERIFIED, str(row).removeprefix("verification of "), row.pk, http=http)
            VERIFY.enqueue(row.pk)
    except IntegrityError as e:
        raise Refused("A verification is under way.", remedy="Wait for its end, or cancel it.") from e
    return row


def cancel(row: Verification) -> bool:
    """Ask the worker to stop after the seal that it compares. Return False if the verification has ended."""
    now = timezone.now()
    mine = Verification.objects.open().filter(pk=row.pk)
    if mine.filter(state=VerificationState.QUEUED).update(state=VerificationState.CANCELLED, ended_at=now):
        return True
    return bool(mine.update(cancel_requested_at=now))


def run(verification_id: int) -> None:
    """Do one verification. A worker calls this."""
    mine = Verification.objects.filter(pk=verification_id)
    now = timezone.now()
    taken = mine.filter(state=VerificationState.QUEUED)
    if not taken.update(state=VerificationState.RUNNING, started_at=now, progress_at=now):
        return
    try:
        state = _compare(mine.get())
    except Exception as e:
        mine.update(state=VerificationState.FAILED, ended_at=timezone.now(), error=type(e).__name__)
        raise
    mine.update(state=state, ended_at=timezone.now())


def _compare(row: Verification) -> VerificationState:
    """Compare seal by seal, and note the progress after each. Each seal has a transaction of its own."""
    mine = Verification.objects.filter(pk=row.pk)
    deadline = time.monotonic() + LONGEST.total_seconds()
    chain = Chain(settings.SANDBOX_SEAL_FINGERPRINT, begin=row.first)
    _note(row, chain.findings())
    for sequence in range(row.first, row.last + 1):
        seal = Seal.objects.filter(pk=sequence).first()
        if seal is not None:  # a gap is a finding of the seal after it
            with transaction.atomic():
                _in_utc()
                _note(row, chain.check(seal))
            row.rows += seal.count
        row.reached, row.progress_at = sequence, timezone.now()
        row.save(update_fields=["reached", "rows", "progress_at", "findings", "finding_count"])
        if mine.filter(cancel_requested_at__isnull=False).exists():
            return VerificationState.CANCELLED
        if time.monotonic() > deadline and sequence < row.last:
            return VerificationState.STOPPED
    with transaction.atomic():
        _in_utc()
        _note(row, _of_the_end(row, chain))
    row.save(update_fields=["findings", "finding_count"])
    return VerificationState.FINDINGS if row.finding_count else VerificationState.OK


def _of_the_end(row: Verification, chain: Chain) -> Iterator[Finding]:
    yield from chain.check_reached(row.last)
    # Seals that were made since the request are another verification's.
    if not Seal.objects.filter(sequence__gt=row.last, created_at__lt=row.requested_at).exists():
        heads = Path(settings.SANDBOX_HEADS_FILE) if settings.SANDBOX_HEADS_FILE else None
        yield from chain.check_end(heads if heads and heads.exists() else None, everything=row.first == 1)


def _in_utc() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone TO 'UTC'")


def _note(row: Verification, findings: Iterator[Finding]) -> None:
    for finding in findings:
        row.finding_count += 1
        if len(row.findings) < STORED_FINDINGS:
            row.findings.append(str(finding))
