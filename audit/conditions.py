"""Conditions of alerts about the history's seals."""

from collections.abc import Iterator

from django.utils import timezone

from audit.models import HeadDestination, Pending, Seal, SealingFailure, Verification
from audit.models.verifications import VerificationState
from sandbox_platform.kit.conditions import (
    CRITICAL,
    DAY_MS,
    HOUR_MS,
    Condition,
    Finding,
    Parameter,
    ShippedRule,
    Values,
    declare,
)
from sandbox_platform.kit.units import format_ms

SEALS = "/admin/audit/seal/"


def seal_missing(values: Values) -> Iterator[Finding]:
    """Yield a node that cannot seal, and the history if rows have waited for too long."""
    for failure in SealingFailure.objects.order_by("node"):
        age_ms = (timezone.now() - failure.at).total_seconds() * 1000
        yield Finding(
            f"node {failure.node}", age_ms, "This node cannot seal: see the doctor's report.", "/admin/doctor/"
        )
    last = Seal.objects.order_by("-sequence").first()
    if last is None or not Pending.objects.exists():
        return
    age_ms = (timezone.now() - last.created_at).total_seconds() * 1000
    if age_ms >= values["age_ms"]:
        yield Finding(
            "the history", age_ms, f"Rows wait, and {last} is {format_ms(round(age_ms, -3))} old.", SEALS
        )


def verification_failed(values: Values) -> Iterator[Finding]:
    """Yield each range with findings, until a later verification of at least the same range has none."""
    fine = list(Verification.objects.filter(state=VerificationState.OK).values_list("pk", "first", "last"))
    for row in Verification.objects.filter(state=VerificationState.FINDINGS):
        if any(pk > row.pk and first <= row.first and row.last <= last for pk, first, last in fine):
            continue
        span = f"seal {row.first}" if row.first == row.last else f"seals {row.first} to {row.last}"
        number = row.finding_count
        detail = f"{number:,} finding{'' if number == 1 else 's'}: the history is not what was sealed."
        yield Finding(span, number, detail, f"/admin/audit/verification/{row.pk}/change/")


def heads_unsent(values: Values) -> Iterator[Finding]:
    for row in HeadDestination.objects.filter(attempts__gte=values["attempts"]):
        detail = f"{row.attempts} attempts to send the heads of seals failed since seal {row.delivered}."
        yield Finding(f"destination {row}", row.attempts, detail, "/admin/doctor/")


declare(
    Condition(
        "seal_missing",
        "Seal missing",
        "A node cannot seal, or rows wait for a seal and the last one is older than this. Seals are made every hour.",
        seal_missing,
        (Parameter("age_ms", "Last seal older than", 2 * HOUR_MS, HOUR_MS, 7 * DAY_MS, "ms"),),
        unit="ms",
        shipped=(ShippedRule("seal_missing", "Seal missing", CRITICAL),),
    )
)
declare(
    Condition(
        "verification_failed",
        "Verification failed",
        "A verification of seals in the console has findings, and no later one of the same seals is without.",
        verification_failed,
        unit="findings",
        shipped=(ShippedRule("verification_failed", "Verification failed", CRITICAL),),
    )
)
declare(
    Condition(
        "heads_unsent",
        "Heads of seals do not leave",
        "A destination has not taken the heads of seals for this many attempts in a row.",
        heads_unsent,
        (Parameter("attempts", "Failed attempts", 3, 1, 1000),),
        unit="attempts",
        shipped=(ShippedRule("heads_unsent", "Heads of seals do not leave"),),
    )
)
