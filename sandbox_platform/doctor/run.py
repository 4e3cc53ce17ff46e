from collections.abc import Callable, Iterator

from django.conf import settings

from sandbox_platform.doctor import (
    alerts,
    cluster,
    database,
    direct,
    docker,
    history,
    host,
    live,
    profiles,
    service,
)
from sandbox_platform.doctor.check import Check, broken
from sandboxes.sources.source import DOCKER

CHECKS: dict[str, Callable[[str], Check]] = {
    "engine": direct.chosen,
    "Docker": docker.engine,
    "Docker's cgroups": docker.cgroups,
    "engine's rights": direct.rights,
    "engine's tools": direct.tools,
    "cgroups": direct.cgroups,
    "run folder": direct.run_folder,
    "image folder": direct.image_folder,
    "leftovers": direct.left_over,
    "gVisor registered": docker.runtime_registered,
    "gVisor version": docker.runsc_version,
    "images": docker.images,
    "builds": docker.builds,
    "gVisor in use": live.gvisor_on,
    "seccomp enforced": live.seccomp_on,
    "seccomp tracing": docker.tracing_registered,
    "seccomp profiles": profiles.verdicts,
    "egress registered": docker.egress_registered,
    "no network": live.network_dark,
    "memory limit": live.memory_limit,
    "limits in the kernel": live.in_the_kernel,
    "Postgres": database.reachable,
    "migrations": database.migrated,
    "clock": database.clock,
    "seals": history.seals,
    "seal key": history.seal_key,
    "seal heads": history.seal_heads,
    "months": history.months,
    "history triggers": history.guards,
    "workers": service.workers,
    "queue": service.queue,
    "keeper": service.keeper,
    "nodes": cluster.nodes,
    "callbacks": service.callbacks,
    "builder": service.builder,
    "alerts": alerts.alerts,
    "egress": service.egress,
    "pool": service.pool,
    "RAGFlow's port": service.port,
    "disk": host.disk,
    "access": host.access,
    "debug": host.debug,
}
# The checks that only matter for one engine.
ONLY = {
    "docker": {"gVisor registered", "gVisor version", "seccomp tracing", "egress registered"},
    "direct": {"engine's rights", "engine's tools", "cgroups", "run folder", "image folder", "leftovers"},
}


# The checks of what a joined host leaves to the first one.
ELSEWHERE = {"seal heads", "RAGFlow's port"}
# The checks that ask Docker: of no use on a node whose images come from elsewhere.
DOCKERS = {"Docker", "Docker's cgroups", "builds"}


def run_all() -> Iterator[Check]:
    skipped = {name for engine, names in ONLY.items() if engine != settings.SANDBOX_ENGINE for name in names}
    if settings.SANDBOX_JOINED:
        skipped |= ELSEWHERE
    if settings.SANDBOX_IMAGE_SOURCE != DOCKER:
        skipped |= DOCKERS
    if settings.SANDBOX_BUILDER == DOCKER:
        skipped |= {"builder"}  # workers make builds, or nobody does, which is no fault
    for name, check in CHECKS.items():
        if name not in skipped:
            yield run(name, check)


def run(name: str, check: Callable[[str], Check]) -> Check:
    try:
        return check(name)
    except Exception as e:  # a check that fails is itself a finding, and the other checks still run
        return broken(name, f"check failed: {type(e).__name__}: {first_line(e)}", "fix what is broken above")


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
