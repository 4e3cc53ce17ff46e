"""The OCI bundle of a sandbox: what `runsc` reads. Each flag has its reason here, and a test on a live sandbox."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandboxes.engine import SandboxSpec
from sandboxes.layout import (
    CPU_PERIOD_US,
    CPU_SHARES,
    DOOR,
    HOME,
    HOSTNAME,
    NOBODY,
    PIDS_BASE,
    PIDS_PER_PROCESS,
    PROGRAM,
    RESULTS,
    WORKSPACE,
    capabilities,
)
from seccomp_profiles.models import UNCONFINED
from seccomp_profiles.rules import names_of, why_dropped

Json = dict[str, Any]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Folders on which something is mounted. The image's file system is read-only, so they must be in it.
MOUNT_POINTS = ("proc", "sys", "dev", "tmp", WORKSPACE[1:], HOME[1:], RESULTS[1:], DOOR[1:])
ARCHITECTURES = {"x86_64": ["SCMP_ARCH_X86_64"], "aarch64": ["SCMP_ARCH_AARCH64"]}


@dataclass(frozen=True)
class Image:
    """What a sandbox needs of an image: its file system as one EROFS file, and its defaults."""

    file: str
    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]
    volumes: tuple[str, ...]


def config(spec: SandboxSpec, image: Image, cgroup: str, program: str = "") -> Json:
    """Return the OCI configuration. `program`: the host's path of `spec.program`."""
    limits = spec.limits
    granted = [f"CAP_{name}" for name in capabilities(spec)]
    return {
        "ociVersion": "1.0.2",
        "hostname": HOSTNAME,
        "root": {"path": "/", "readonly": not spec.program},  # replaced by the annotations below
        "process": {
            # The runner is root and runs the program as uid 65534 (see docs/runner-protocol.md).
            "user": {"uid": NOBODY, "gid": NOBODY} if spec.as_nobody else {"uid": 0, "gid": 0},
            "args": _arguments(spec, image),
            "env": [f"{name}={value}" for name, value in _environment(spec, image).items()],
            "cwd": WORKSPACE,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), granted),
            "noNewPrivileges": True,
            "rlimits": [
                # Enforced inside the guest, per user: stops a fork bomb.
                _limit("NPROC", limits.processes),
                _limit("NOFILE", limits.open_files),
                # No file can be larger than /workspace.
                _limit("FSIZE", limits.workspace_bytes),
                _limit("CORE", 0),
            ],
        },
        "mounts": [*_mounts(spec, image), *([_bound(program, f"/{PROGRAM}")] if program else [])],
        "annotations": {
            # One read-only file of the host for all sandboxes of the image, and no process that serves it.
            "dev.gvisor.spec.rootfs.source": image.file,
            "dev.gvisor.spec.rootfs.type": "erofs",
            **({"dev.gvisor.spec.rootfs.overlay": "memory"} if spec.program else {}),
        },
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
            "resources": {
                # swap is the sum of both: equal to limit means none.
                "memory": {"limit": limits.memory_bytes, "swap": limits.memory_bytes},
                # A busy loop gets its share, not the whole node.
                "cpu": {
                    "shares": CPU_SHARES,
                    "period": CPU_PERIOD_US,
                    "quota": int(limits.cpus * CPU_PERIOD_US),
                },
                "pids": {"limit": PIDS_BASE + PIDS_PER_PROCESS * limits.processes},
            },
            **({} if spec.seccomp == UNCONFINED else {"seccomp": seccomp(json.loads(spec.seccomp))}),
        },
    }


def _arguments(spec: SandboxSpec, image: Image) -> list[str]:
    if spec.program:
        return [f"/{PROGRAM}"]
    if spec.command:
        return list(spec.command)
    return [*image.entrypoint, json.dumps(spec.runner_config)]


def _environment(spec: SandboxSpec, image: Image) -> dict[str, str]:
    return {"PATH": PATH, "HOSTNAME": HOSTNAME, **image.environment, "HOME": HOME, **spec.environment}


def _limit(name: str, value: int) -> Json:
    return {"type": f"RLIMIT_{name}", "soft": value, "hard": value}


def system_mounts() -> list[Json]:
    """Return the mounts of /proc, /sys and /dev, the same in every guest of runsc."""
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    ]


def _mounts(spec: SandboxSpec, image: Image) -> list[Json]:
    limits = spec.limits
    own = [f"uid={NOBODY}", f"gid={NOBODY}", "mode=0700"]
    return [
        *system_mounts(),
        # Of the sandbox's own, for semaphores and shared memory between the program's processes.
        _tmpfs("/dev/shm", limits.workspace_bytes, "mode=1777"),  # noqa: S108
        # Volumes that the image declares are folders in memory, too.
        *(_tmpfs(volume, limits.tmp_bytes) for volume in image.volumes),
        # The only writable places. All have a size limit, count towards memory, and end with the sandbox.
        _tmpfs(WORKSPACE, limits.workspace_bytes, *own),
        _tmpfs(HOME, limits.workspace_bytes, *own),
        _tmpfs("/tmp", limits.tmp_bytes, "mode=1777"),  # noqa: S108
        # The worker's result. Nobody lists the folder, and nobody removes another user's file.
        _tmpfs(RESULTS, limits.workspace_bytes, "mode=1733"),
        # A door is all that a sandbox sees of the host.
        *([_bound(spec.door, DOOR)] if spec.door else []),
    ]


def _tmpfs(place: str, size: int, *options: str) -> Json:
    return {
        "destination": place,
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["rw", "exec", "nosuid", "nodev", f"size={size}", *options],
    }


def _bound(source: str, target: str) -> Json:
    return {"destination": target, "type": "bind", "source": source, "options": ["rbind", "ro"]}


def seccomp(profile: Json) -> Json:
    """Translate a profile in Docker's format into OCI's, as Docker does for the engine that it drives."""
    rules = []
    for rule in profile.get("syscalls") or ():
        if why_dropped(rule):
            continue
        translated = {"names": names_of(rule), "action": rule["action"]}
        if "errnoRet" in rule:
            translated["errnoRet"] = rule["errnoRet"]
        if rule.get("args"):
            translated["args"] = rule["args"]
        rules.append(translated)
    default = {"defaultAction": profile["defaultAction"]}
    if "defaultErrnoRet" in profile:
        default["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return {**default, "syscalls": rules}
