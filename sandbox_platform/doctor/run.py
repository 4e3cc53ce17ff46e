from collections.abc import Callable, Iterator

from sandbox_platform.doctor import database, docker, history, host, live, profiles, service
from sandbox_platform.doctor.check import Check, broken

CHECKS: dict[str, Callable[[str], Check]] = {
    "Docker": docker.engine,
    "gVisor registered": docker.runtime_registered,
    "gVisor version": docker.runsc_version,
    "images": docker.images,
    "builds": docker.builds,
    "gVisor on": live.gvisor_on,
    "seccomp on": live.seccomp_on,
    "seccomp traced": docker.tracing_registered,
    "seccomp profiles": profiles.verdicts,
    "egress registered": docker.egress_registered,
    "network dark": live.network_dark,
    "memory limit": live.memory_limit,
    "Postgres": database.reachable,
    "migrations": database.migrated,
    "clock": database.clock,
    "seals": history.seals,
    "history's guards": history.guards,
    "workers": service.workers,
    "queue": service.queue,
    "keeper": service.keeper,
    "callbacks": service.callbacks,
    "egress": service.egress,
    "pool": service.pool,
    "RAGFlow's port": service.port,
    "disk": host.disk,
    "access": host.access,
    "debug": host.debug,
}


def run_all() -> Iterator[Check]:
    for name, check in CHECKS.items():
        yield run(name, check)


def run(name: str, check: Callable[[str], Check]) -> Check:
    try:
        return check(name)
    except Exception as e:  # a check that fails is itself a finding, and the other checks still run
        return broken(name, f"check failed: {type(e).__name__}: {first_line(e)}", "fix what is broken above")


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
