from typing import Any

from django.conf import settings

from builds.models import BuildState, RuntimeBuild
from runtimes.models import Runtime
from sandbox_platform.doctor.check import Check, broken, ok, warning
from sandboxes import cgroup, engines, gvisor
from sandboxes.docker_engine import get_engine
from sandboxes.engine import EngineError, ImageMissing
from sandboxes.layout import cgroup_of_docker
from sandboxes.sources.source import DOCKER, REMEDIES, SourceUnavailable

OLDEST_DOCKER = 24
TRACING = ("--oci-seccomp", "--allow-flag-override", "--debug", "--strace", "--strace-log-size=1")
EGRESS = ("--network=none", "--oci-seccomp", "--host-uds=open")


def engine(name: str) -> Check:
    try:
        info = get_engine().info()
    except EngineError as e:
        return broken(name, str(e), f"start Docker, and give this user access to {settings.DOCKER_HOST}")
    version = str(info["ServerVersion"])
    if int(version.split(".")[0]) < OLDEST_DOCKER:
        return broken(name, f"{version} is older than {OLDEST_DOCKER}", "run `make setup`, or upgrade Docker")
    return ok(name, f"{version}, {info['NCPU']} cores")


def cgroups(name: str) -> Check:
    """Check where Docker puts cgroups, on which limits and measurements of its containers depend."""
    info = get_engine().info()
    driver, version = str(info["CgroupDriver"]), str(info.get("CgroupVersion", "1"))
    detail = f"driver {driver}, cgroup v{version}"
    if driver == "none":
        return broken(name, f"{detail}: Docker enforces no limit", "run Docker as root, or delegate cgroups to it")
    if found := sorted(cgroup.other_parents()):
        detail += f"; other containers are in {', '.join(found)} (Docker's cgroup-parent, or another engine)"
    if settings.SANDBOX_ENGINE != "docker":
        return ok(name, detail)
    if not (placed := cgroup_of_docker(driver, version)):
        fix = "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or choose the driver cgroupfs"
        return warning(name, f"{detail}: sandboxes have the CPU weight of any container", fix)
    parent = placed["CgroupParent"]
    detail += f"; sandboxes are in {parent}"
    if found:
        fix = f"if limits of {found[0]} should hold for them, give the like to {parent} (docs/systemd.md)"
        return warning(name, f"{detail}, which its limits do not cover", fix)
    return ok(name, detail)


def runtime_registered(name: str) -> Check:
    wanted = settings.SANDBOX_GVISOR_RUNTIME
    runtime = _registration(wanted)
    if runtime is None:
        return broken(name, f"Docker has no runtime named {wanted}", "run `make setup`: it registers gVisor")
    arguments = runtime.get("runtimeArgs") or []
    if "--oci-seccomp" not in arguments:
        return broken(name, f"{wanted} lacks --oci-seccomp: seccomp profiles are ignored", "run `make setup`")
    if "--network=none" not in arguments:
        return warning(name, f"{wanted} lacks --network=none, the second network barrier", "run `make setup`")
    return ok(name, f"{wanted} → {runtime.get('path')} {' '.join(arguments)}")


def tracing_registered(name: str) -> Check:
    wanted = settings.SANDBOX_GVISOR_TRACE_RUNTIME
    arguments = (_registration(wanted) or {}).get("runtimeArgs") or []
    if missing := [flag for flag in TRACING if flag not in arguments]:
        detail = f"{wanted} lacks {' '.join(missing)}: refused system calls cannot be traced"
        return warning(name, detail, "run `make setup`")
    return ok(name, f"{wanted} traces the system calls of a sandbox")


def egress_registered(name: str) -> Check:
    wanted = settings.SANDBOX_GVISOR_EGRESS_RUNTIME
    arguments = (_registration(wanted) or {}).get("runtimeArgs") or []
    if missing := [flag for flag in EGRESS if flag not in arguments]:
        detail = (
            f"{wanted} lacks {' '.join(missing)}: runs with egress fail to start or are not confined to their door"
        )
        state = broken if "--network=none" in missing and arguments else warning
        return state(name, detail, "run `make setup`")
    return ok(name, f"{wanted} lets a sandbox with egress open its door, and gives it no network")


def runsc_version(name: str) -> Check:
    version = get_engine().version()
    if gvisor.released(version) is None:
        detail = f"unknown ({version or 'runsc not found'})"
        return warning(name, detail, "run `make setup`, which installs a current gVisor beside this one")
    if found := gvisor.open_advisories(version):
        faults = "; ".join(f"{one.name} ({one.effect}; {one.source})" for one in found)
        return warning(
            name, f"{version} is affected by {faults}", "run `make setup`: it installs a current gVisor"
        )
    return ok(name, f"{version}, no known advisory")


def images(name: str) -> Check:
    missing = []
    source = get_engine() if settings.SANDBOX_IMAGE_SOURCE == DOCKER else engines.get_engine()
    runtimes = list(Runtime.objects.enabled())
    for runtime in runtimes:
        try:
            source.image_id(runtime.live_image)
        except ImageMissing:
            missing.append(f"{runtime.image} ({runtime.slug})")
        except SourceUnavailable as e:
            return broken(name, str(e), "see SANDBOX_IMAGE_SOURCE in docs/architecture.md")
    if missing:
        return broken(name, f"missing on this node: {', '.join(missing)}", REMEDIES[settings.SANDBOX_IMAGE_SOURCE])
    if not runtimes:
        return broken(name, "no runtime is enabled", "run `manage.py bootstrap`, or enable one in the admin")
    return ok(name, f"present for {', '.join(runtime.slug for runtime in runtimes)}")


def builds(name: str) -> Check:
    """Warn about live builds whose base image has been rebuilt since: they miss its Debian updates."""
    live = RuntimeBuild.objects.filter(state=BuildState.LIVE, node=settings.SANDBOX_NODE).select_related("runtime")
    outdated = [build.runtime.slug for build in live.defer("log") if _is_outdated(build)]
    if outdated:
        return warning(
            name,
            f"base image renewed since the build: {', '.join(outdated)}",
            "rebuild them: Builds in the admin",
        )
    return ok(name, f"{len(live)} live, each on its current base image" if live else "no live build")


def _is_outdated(build: RuntimeBuild) -> bool:
    try:
        return get_engine().image_id(build.base) != build.base_image_id
    except ImageMissing:
        return False  # pulled and pinned: the build no longer needs the base image's name


def _registration(name: str) -> dict[str, Any] | None:
    runtimes: dict[str, dict[str, Any]] = get_engine().info()["Runtimes"]
    return runtimes.get(name)
