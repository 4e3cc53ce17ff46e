"""Conditions of alerts about seccomp profiles."""

from collections.abc import Iterator

from inspections.standing import standings
from sandbox_platform.kit.conditions import CRITICAL, Choice, Condition, Finding, ShippedRule, Values, declare

BROKEN, UNPROVEN = "broken", "unproven"


def not_enforced(values: Values) -> Iterator[Finding]:
    wanted = ("broken",) if values["state"] == BROKEN else ("broken", "warning")
    for standing in standings():
        if standing.state in wanted:
            profile, runtime = standing.profile, standing.runtime
            link = f"/admin/inspections/inspection/{standing.probe.pk}/change/" if standing.probe else "/admin/"
            detail = f"{standing.words}, by the last probe of {profile.current}."
            yield Finding(f"profile {profile.name} on runtime {runtime.slug}", 1, detail, link)


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
