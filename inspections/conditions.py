"""Conditions of alerts about seccomp profiles, and about the separation of runs."""

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from inspections import separation
from inspections.standing import standings
from sandbox_platform.kit.conditions import (
    CRITICAL,
    DAY_MS,
    HOUR_MS,
    Choice,
    Condition,
    Finding,
    Parameter,
    ShippedRule,
    Values,
    declare,
)

BROKEN, UNPROVEN = "broken", "unproven"


def not_enforced(values: Values) -> Iterator[Finding]:
    wanted = ("broken",) if values["state"] == BROKEN else ("broken", "warning")
    for standing in standings():
        if standing.state in wanted:
            profile, runtime = standing.profile, standing.runtime
            link = f"/admin/inspections/inspection/{standing.probe.pk}/change/" if standing.probe else "/admin/"
            detail = f"{standing.words}, by the last probe of {profile.current}."
            yield Finding(f"profile {profile.name} on runtime {runtime.slug}", 1, detail, link)


def runs_see_each_other(values: Values) -> Iterator[Finding]:
    """Yield a finding for traces that a self-test found in the window, and one if none has ended well for long."""
    now = timezone.now()
    found = separation.looks(now - timedelta(milliseconds=values["window_ms"]))
    bad = [look for look in found if look.seen]
    if bad:
        link = f"/admin/executions/execution/{bad[0].execution.pk}/change/"
        detail = f"A run found {len(bad[0].seen or ())} traces of an earlier one, on node {bad[0].execution.node}."
        yield Finding("separation of runs", len(bad), detail, link)
    elif found and not any(look.seen is not None for look in found):
        link = f"/admin/executions/execution/{found[0].execution.pk}/change/"
        yield Finding("self-test of separation", len(found), "No self-test in the window ended as it must.", link)


declare(
    Condition(
        "separation",
        "Runs see each other",
        "A program of the hourly self-test found traces of an earlier run, or no self-test ended as it must.",
        runs_see_each_other,
        (Parameter("window_ms", "In the last", DAY_MS, 3 * HOUR_MS, 7 * DAY_MS, "ms"),),
        unit="runs",
        shipped=(ShippedRule("separation", "Runs see each other", CRITICAL),),
    )
)
declare(
    Condition(
        "profile_not_enforced",
        "Seccomp profile not enforced",
        "The last probe of a profile in use found that it is not enforced, or that its runtime does not work under it.",
        not_enforced,
        (
            Choice(
                "state",
                "Fires for",
                BROKEN,
                {
                    BROKEN: "Not enforced, or breaks its runtime",
                    UNPROVEN: "These, and profiles without a fresh probe",
                },
            ),
        ),
        shipped=(ShippedRule("profile_not_enforced", "Seccomp profile not enforced", CRITICAL),),
    )
)
