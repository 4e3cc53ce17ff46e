"""The profiles shipped with the platform. Existing ones are never changed: they belong to the administrator."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seccomp_profiles import revisions
from seccomp_profiles.models import UNCONFINED, SeccompProfile

# A deny-list: system calls that data-processing programs never make, and that attacks on a kernel, or on gVisor's
# re-implementation of one, often begin with. The profile also applies to the runner (root in the guest, before it
# starts the program as nobody): setresuid, setresgid, kill, clone and execve must stay allowed.
# The keys become comments of the rules, and so part of their SHA-256: do not reword them.
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


# Written by `manage.py learn_strict`.
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
    """A shipped profile: with rules, or with a parent that stands above it in PROFILES and a deny list."""

    description: str
    rules: dict[str, Any] | None = None
    parent: str = ""
    deny: str = ""


PROFILES = {
    UNCONFINED: Shipped("No filter inside the guest: gVisor alone is the barrier."),
    "default": Shipped(
        "Denies, with EPERM, system calls that ordinary programs do not use: tracing, mounts, namespaces, "
        "kernel modules, keys, BPF, io_uring, file handles. Python and Node.js run unchanged; debuggers do not work.",
        _default_rules(),
    ),
    # clone and execve cannot be denied: the runner itself starts the program.
    "compute": Shipped(
        "The default profile without sockets, and without the calls to start programs that ordinary programs do not "
        "need. For programs that only compute. Threads and child processes work.",
        parent="default",
        # socketpair and the calls on it stay allowed: Node.js reads from child processes through a socket pair.
        deny="socket connect accept accept4 bind listen vfork execveat",
    ),
    "strict": Shipped(
        "Denies everything except the system calls that Python and Node.js were observed to need for pure functions. "
        "No sockets. Most libraries with native code will not work.",
        _strict_rules(),
    ),
}


def create_missing() -> list[str]:
    """Create the shipped profiles that do not exist, and return their names."""
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
            note="Shipped with the platform.",
        )
    return missing
