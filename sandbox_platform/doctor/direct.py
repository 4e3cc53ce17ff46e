"""Checks of the engine, and of what the direct engine needs of its node."""

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from sandbox_platform.doctor.check import Check, broken, ok, warning
from sandbox_platform.kit.units import format_bytes
from sandboxes import cgroup
from sandboxes.direct import runsc, trial
from sandboxes.direct.images import node_store
from sandboxes.engines import get_engine
from sandboxes.gvisor import version_of
from sandboxes.layout import ALL_CAPABILITIES
from sandboxes.models import Sandbox

# docker-compose.direct.yml grants them and says what for.
NEEDED = ("SYS_ADMIN", "SETFCAP", "SETUID", "SETGID", "KILL", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID")
STATUS = Path("/proc/self/status")
RIGHTS = (
    "run `make restart`, which starts the worker with docker-compose.direct.yml; outside of the stack, be root"
)
LOW = 1024**3
# A sandbox that is made or removed may lack a part of itself.
GRACE_S = 1.0
# The direct engine's names. Docker's are longer.
NAME = re.compile(r"[0-9a-f]{32}")


def chosen(name: str) -> Check:
    """Tell which engine starts the sandboxes, and why."""
    reason = settings.SANDBOX_ENGINE_REASON or "SANDBOX_ENGINE, or its default outside of the stack"
    return ok(name, f"{settings.SANDBOX_ENGINE}: {reason}")


def rights(name: str) -> Check:
    fields = dict(line.split(":\t", 1) for line in STATUS.read_text().splitlines() if ":\t" in line)
    held = int(fields["CapEff"], 16)
    if missing := [one for one in NEEDED if not held >> ALL_CAPABILITIES.index(one) & 1]:
        return broken(name, f"this process lacks {', '.join(missing)}", RIGHTS)
    if fields.get("Seccomp", "0").strip() == "2":
        return broken(name, "a seccomp profile filters this process: runsc cannot make namespaces", RIGHTS)
    return ok(name, f"the {len(NEEDED)} capabilities that runsc and images need, and no seccomp profile")


def tools(name: str) -> Check:
    def found() -> str:
        trial.check_tools()
        return f"{(path := runsc.binary())} {version_of(path)}; {shutil.which('mkfs.erofs')}"

    return _usable(name, found)


def cgroups(name: str) -> Check:
    def found() -> str:
        trial.check_cgroups()
        return f"v{cgroup.version()} at {settings.SANDBOX_CGROUP_ROOT}, writable"

    return _usable(name, found)


def _usable(name: str, check: Callable[[], str]) -> Check:
    try:
        return ok(name, check())
    except trial.NotUsable as e:
        return broken(name, e.reason, e.fix)


def run_folder(name: str) -> Check:
    folder = settings.SANDBOX_RUN_DIR
    if problem := _not_writable(folder):
        return broken(name, f"{folder}: {problem}", f"make {folder} writable for this user: {RIGHTS}")
    return ok(name, f"{folder}, {format_bytes(shutil.disk_usage(folder).free)} free")


def image_folder(name: str) -> Check:
    folder, bound = settings.SANDBOX_IMAGE_DIR, settings.SANDBOX_IMAGE_DISK_BYTES
    if problem := _not_writable(folder):
        return broken(name, f"{folder}: {problem}", f"make {folder} writable for this user: {RIGHTS}")
    store, free = node_store(), shutil.disk_usage(folder).free
    used = store.size_bytes()
    detail = (
        f"{len(store.names())} images, {format_bytes(used)} of {format_bytes(bound)}; {format_bytes(free)} free in"
        f" {folder}"
    )
    if used > bound:
        fix = "raise SANDBOX_IMAGE_DISK, or disable runtimes: those in use stay"
        return warning(name, detail, fix)
    return warning(name, detail, "free space on this disk") if free < LOW else ok(name, detail)


def _not_writable(folder: Path) -> str:
    probe = folder / f".doctor-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as e:
        return e.strerror or str(e)
    return ""


def left_over(name: str) -> Check:
    """Warn of sandboxes that no row knows, and of folders and cgroups without a sandbox."""
    if found := _strays():
        time.sleep(GRACE_S)
        found &= _strays()
    if found:
        shown = ", ".join(sorted(found)[:3])
        return warning(
            name, f"{len(found)} sandboxes or parts of one, such as {shown}", "run `make stop`, then `make start`"
        )
    return ok(name, "no sandbox without a row, and no folder or cgroup without a sandbox")


def _strays() -> set[str]:
    folder = settings.SANDBOX_RUN_DIR / "sandboxes"
    folders = {path.name for path in folder.glob("*")}
    rows = {str(pk) for pk in Sandbox.objects.filter(node=settings.SANDBOX_NODE).values_list("pk", flat=True)}
    strays = {sandbox.id for sandbox in get_engine().containers() if sandbox.sandbox not in rows}
    strays |= {one for one in folders if not (folder / one / "sandbox.json").exists()}
    groups = {one for one in cgroup.names() if NAME.fullmatch(one) and one not in folders}
    # With processes it may be a sandbox of other processes of this machine, which have another folder.
    return strays | {one for one in groups if not cgroup.processes(one)}
