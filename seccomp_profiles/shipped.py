"""The profiles that come with the platform. Once created, they are the administrator's."""

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


PROFILES: dict[str, tuple[str, dict[str, Any] | None]] = {
    UNCONFINED: ("No filter inside the guest: gVisor alone is the barrier.", None),
    "default": (
        "Refuses, with EPERM, system calls that ordinary programs do not use: tracing, mounts, namespaces, "
        "kernel modules, keys, BPF, io_uring, handles. Python and Node.js run under it unchanged; debuggers "
        "do not.",
        _default_rules(),
    ),
}


def create_missing() -> list[str]:
    """The names of the profiles that were not there yet."""
    present = set(SeccompProfile.objects.values_list("name", flat=True))
    missing = [name for name in PROFILES if name not in present]
    for name in missing:
        description, rules = PROFILES[name]
        revisions.create_profile(name, rules, description=description, note="As shipped.")
    return missing
