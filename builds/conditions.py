"""Conditions of alerts about builds."""

from collections.abc import Iterator

from builds import services
from builds.models import BuildState, RuntimeBuild
from sandbox_platform.kit.conditions import MINUTE_MS, Condition, Finding, ShippedRule, Values, declare


def builder_gone(values: Values) -> Iterator[Finding]:
    if services.builder_is_gone():
        waiting = RuntimeBuild.objects.filter(state=BuildState.QUEUED).count()
        detail = f"No process makes builds; builds that wait for one: {waiting}."
        yield Finding("the builder", waiting, detail, "/admin/doctor/")


declare(
    Condition(
        "builder_gone",
        "Builder gone",
        "Builds are made by a process of its own (SANDBOX_BUILDER=buildah), and none is alive. Programs run all the "
        "same.",
        builder_gone,
        unit="builds",
        # The builder ends with a build that needs too much memory, and a new version of it may first be pulled.
        shipped=(ShippedRule("builder_gone", "Builder gone", pending_ms=5 * MINUTE_MS),),
    )
)
