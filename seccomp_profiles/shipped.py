"""The profiles that come with the platform. Once created, they are the administrator's."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seccomp_profiles import revisions
from seccomp_profiles.models import UNCONFINED, SeccompProfile

# A deny-list: what a program of data work never asks for, and what an attack on a kernel, or on gVisor's
# re-implementation of one, likes to begin with. The runner (root in the guest, before it starts the program
# as nobody) is under it as well: setuid, setgid, kill, fork, clone and execve must stay allowed.
DENIED = {
    "other processes": "ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd",
    "mounts and roots": (
        "mount umount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr"
    ),
    "namespaces": "setns unshare",
    "kernel keys": "keyctl add_key request_key",
    "kernel programs and events": (
        "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register"
    ),
    "kernel and modules": (
        "kexec_load kexec_file_load create_module init_module finit_module delete_module query_module "
        "get_kernel_syms reboot"
    ),
    "files by handle, past the mount": "open_by_handle_at name_to_handle_at fanotify_init",
    "machine settings": (
        "swapon swapoff acct quotactl quotactl_fd personality sethostname setdomainname iopl ioperm "
        "settimeofday clock_settime clock_adjtime adjtimex stime vhangup lookup_dcookie nfsservctl"
    ),
}


def _default_rules() -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": names.split(), "action": "SCMP_ACT_ERRNO", "comment": reason}
            for reason, names in DENIED.items()
        ],
    }


# Made by `manage.py learn_strict`.
STRICT_FILE = Path(__file__).with_name("strict.json")
STRICT_RUNTIMES = ("python", "nodejs")


def _strict_rules() -> dict[str, Any]:
    allowed = json.loads(STRICT_FILE.read_text(encoding="utf-8"))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW", "comment": "learnt from pure functions"}],
    }


@dataclass(frozen=True)
class Shipped:
    """With rules of its own, or extending one above it."""

    description: str
    rules: dict[str, Any] | None = None
    parent: str = ""
    deny: str = ""


PROFILES = {
    UNCONFINED: Shipped("No filter inside the guest: gVisor alone is the barrier."),
    "default": Shipped(
        "Refuses, with EPERM, system calls that ordinary programs do not use: tracing, mounts, namespaces, "
        "kernel modules, keys, BPF, io_uring, handles. Python and Node.js run under it unchanged; debuggers "
        "do not.",
        _default_rules(),
    ),
    # New processes by fork cannot be refused: the runner itself forks the program.
    "compute": Shipped(
        "The default profile without sockets and without the ways to start another program that ordinary ones do "
        "not need. For programs that only compute; threads and child processes work.",
        parent="default",
        # Not socketpair, and what is done with one: Node.js reads its child processes through such a pair.
        deny="socket connect accept accept4 bind listen vfork execveat",
    ),
    "strict": Shipped(
        "Refuses all but what Python and Node.js were seen to need for functions from values to values. "
        "No sockets; most libraries with native code will miss something.",
        _strict_rules(),
    ),
    "strict-alone": Shipped(
        "The strict profile, and no other program can be started at all: for Python. Node.js cannot start.",
        parent="strict",
        deny="execve",
    ),
    "compute-alone": Shipped(
        "The compute profile, and no other program can be started at all. For runtimes whose programs run in the "
        "runner's own interpreter, as Python's do. Node.js cannot start under it.",
        parent="compute",
        deny="execve",
    ),
}


def create_missing() -> list[str]:
    """The names of the profiles that were not there yet."""
    present = {profile.name: profile for profile in SeccompProfile.objects.select_related("active")}
    missing = [name for name in PROFILES if name not in present]
    for name in missing:
        shipped = PROFILES[name]
        present[name] = revisions.create_profile(
            name,
            shipped.rules,
            description=shipped.description,
            parent=present[shipped.parent] if shipped.parent else None,
            deny=shipped.deny.split(),
            note="As shipped.",
        )
    return missing
