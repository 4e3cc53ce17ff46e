"""What every sandbox looks like inside, whichever engine starts it."""

from typing import Any

from django.conf import settings

from sandboxes.engine import SandboxSpec

KIND_LABEL = f"{settings.SANDBOX_LABEL}.kind"
ROW_LABEL = f"{settings.SANDBOX_LABEL}.sandbox"
NOBODY = 65534
WORKSPACE = "/workspace"
# As /etc/passwd of the shipped images has it.
HOME = "/home/nobody"
HOSTNAME = "sandbox"
RESULTS = "/run/sandbox"  # images/runner/runner.py repeats it
PROGRAM = "platform-program"
# Mount point of the door in a sandbox with egress. images/runner/carrier.py repeats it.
DOOR = "/run/egress"
# The sentry's threads and gVisor's stubs count towards the host's pids limit: with 64 a sandbox dies without a message.
# Programs are limited by nproc instead.
PIDS_PER_PROCESS = 4
PIDS_BASE = 512
# All sandboxes share one cgroup beside Docker's, which holds the platform: on a busy machine each of the two gets
# half of the CPU. Within the cgroup every sandbox has the minimum weight: with a greater one Linux 6.18 let nothing
# else run for seconds (docs/performance.md, Busy neighbours).
CGROUP_PARENT = f"/{settings.SANDBOX_LABEL}"
# Where Docker leaves cgroups to systemd, theirs is a slice. Systemd takes each dash of a slice's name for a level.
CGROUP_SLICE = f"{settings.SANDBOX_LABEL.replace('-', '_')}.slice"
CPU_SHARES = 2
CPU_PERIOD_US = 100_000
# Linux's, in order of their numbers.
ALL_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip


def cgroup_of_docker(driver: str, version: str) -> dict[str, Any]:
    """Return where Docker puts a sandbox's cgroup, and with which weight, under the cgroup driver that it names."""
    if driver == "cgroupfs":
        return {"CgroupParent": CGROUP_PARENT, "CpuShares": CPU_SHARES}
    # On cgroup v1, runsc does not go through systemd: the least weight would then compete with the whole system.
    if driver == "systemd" and version == "2":
        return {"CgroupParent": CGROUP_SLICE, "CpuShares": CPU_SHARES}
    return {}


def capabilities(spec: SandboxSpec) -> tuple[str, ...]:
    """Return the capabilities of the first process, in the guest."""
    if spec.program and spec.capable:
        return ALL_CAPABILITIES
    # The runner switches to nobody's uid and gid, and kills nobody's processes.
    return () if spec.as_nobody else ("SETUID", "SETGID", "KILL")
