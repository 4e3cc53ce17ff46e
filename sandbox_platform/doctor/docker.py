import re
from typing import Any

from django.conf import settings

from builds.models import BuildState, RuntimeBuild
from runtimes.models import Runtime
from sandbox_platform.doctor.check import Check, broken, ok, warning
from sandboxes.docker_engine import get_engine
from sandboxes.engine import EngineError, ImageMissing

OLDEST_DOCKER = 24
# Release date of the first runsc without the fault.
FIXED_IN = {20250319: "CVE-2025-2713, a local privilege escalation in runsc"}
# Not here: CVE-2026-96812, an escape to host root, needs a character device passed into the sandbox, and none
# ever is: tests/sandboxes assert it.
UPDATE = "install gVisor's own release (https://gvisor.dev/docs/user_guide/install/) over the package"
TRACING = ("--oci-seccomp", "--allow-flag-override", "--debug", "--strace", "--strace-log-size=1")
EGRESS = ("--network=none", "--oci-seccomp", "--host-uds=open")
DATE = re.compile(r"(20\d{6})")


def engine(name: str) -> Check:
    try:
        info = get_engine().info()
    except EngineError as e:
        return broken(name, str(e), f"start Docker, and let this user open {settings.DOCKER_HOST}")
    version = str(info["ServerVersion"])
    if int(version.split(".")[0]) < OLDEST_DOCKER:
        return broken(name, f"{version} is older than {OLDEST_DOCKER}", "run `make setup`, or upgrade Docker")
    return ok(name, f"{version}, {info['NCPU']} cores, cgroup v{info.get('CgroupVersion', '1')}")


def runtime_registered(name: str) -> Check:
    wanted = settings.SANDBOX_GVISOR_RUNTIME
    runtime = _registration(wanted)
    if runtime is None:
        return broken(name, f"Docker has no runtime called {wanted}", "run `make setup`: it registers gVisor")
    arguments = runtime.get("runtimeArgs") or []
    if "--oci-seccomp" not in arguments:
        return broken(name, f"{wanted} lacks --oci-seccomp: seccomp profiles are ignored", "run `make setup`")
    if "--network=none" not in arguments:
        return warning(name, f"{wanted} lacks --network=none, the second lock on the network", "run `make setup`")
    return ok(name, f"{wanted} → {runtime.get('path')} {' '.join(arguments)}")


def tracing_registered(name: str) -> Check:
    wanted = settings.SANDBOX_GVISOR_TRACE_RUNTIME
    arguments = (_registration(wanted) or {}).get("runtimeArgs") or []
    if missing := [flag for flag in TRACING if flag not in arguments]:
        detail = f"{wanted} lacks {' '.join(missing)}: which call was refused cannot be told"
        return warning(name, detail, "run `make setup`")
    return ok(name, f"{wanted} tells which calls a guest makes")


def egress_registered(name: str) -> Check:
    wanted = settings.SANDBOX_GVISOR_EGRESS_RUNTIME
    arguments = (_registration(wanted) or {}).get("runtimeArgs") or []
    if missing := [flag for flag in EGRESS if flag not in arguments]:
        detail = f"{wanted} lacks {' '.join(missing)}: runs with egress do not start, or not behind their door"
        state = broken if "--network=none" in missing and arguments else warning
        return state(name, detail, "run `make setup`")
    return ok(name, f"{wanted} opens the doors of sandboxes with egress, and no network")


def runsc_version(name: str) -> Check:
    version = get_engine().version()
    found = DATE.search(version)
    if not found:
        return warning(name, f"unknown ({version or 'no runsc in sight'})", "compare `runsc --version` by hand")
    faults = [fault for date, fault in FIXED_IN.items() if int(found[1]) < date]
    if faults:
        return warning(name, f"{version} has {'; '.join(faults)}", UPDATE)
    return ok(name, version)


def images(name: str) -> Check:
    missing = []
    runtimes = list(Runtime.objects.enabled())
    for runtime in runtimes:
        try:
            get_engine().image_id(runtime.live_image)
        except ImageMissing:
            missing.append(f"{runtime.image} of {runtime.slug}")
    if missing:
        return broken(name, f"not on this node: {', '.join(missing)}", "run `make build`")
    if not runtimes:
        return broken(name, "no runtime is enabled", "run `manage.py bootstrap`, or enable one in the admin")
    return ok(name, f"of {', '.join(runtime.slug for runtime in runtimes)} are here")


def builds(name: str) -> Check:
    """A live build stays on what its image was when it was made, updates of Debian's or not."""
    live = RuntimeBuild.objects.filter(state=BuildState.LIVE, node=settings.SANDBOX_NODE).select_related("runtime")
    outdated = [build.runtime.slug for build in live.defer("log") if _has_moved_on(build)]
    if outdated:
        return warning(
            name,
            f"made of an image that was renewed since: {', '.join(outdated)}",
            "build them again: Builds in the admin",
        )
    return ok(name, f"{len(live)} live, made of what their images are now" if live else "none is live")


def _has_moved_on(build: RuntimeBuild) -> bool:
    try:
        return get_engine().image_id(build.base) != build.base_image_id
    except ImageMissing:
        return False  # pulled and pinned; the name is not needed any more


def _registration(name: str) -> dict[str, Any] | None:
    runtimes: dict[str, dict[str, Any]] = get_engine().info()["Runtimes"]
    return runtimes.get(name)
