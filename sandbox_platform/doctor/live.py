"""Checks from inside a sandbox: each starts a sandbox of its own and removes it."""

import json
import select
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from django.conf import settings

from runtimes.models import MIB, Runtime
from sandbox_platform.doctor.check import Check, broken, ok, warning
from sandboxes import cgroup
from sandboxes.direct import trial
from sandboxes.engine import Channel, ContainerState, EngineError, ImageMissing, SandboxSpec
from sandboxes.engines import get_engine
from sandboxes.layout import KIND_LABEL

# A second on most machines, minutes where the machine is emulated.
PATIENCE_S = 180
# The least weight: 2 shares on cgroup v1, 1 on v2.
HEAVIEST = 2
KILLED = 128 + signal.SIGKILL
REGISTER = "run `make setup`: it registers gVisor with --network=none and --oci-seccomp"
LIMITS = replace(trial.LIMITS, workspace_bytes=4 * MIB, tmp_bytes=4 * MIB)
NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}
# 192.0.2.1 is in TEST-NET-1, which is not assigned: with a network the attempt hangs, without one it fails at once.
CONNECT = """
import errno, socket
names = [name for _, name in socket.if_nameindex()]
probe = socket.socket()
probe.settimeout(2)
print(*sorted(names), errno.errorcode.get(probe.connect_ex(("192.0.2.1", 80))))
"""
# Writes the memory: memory that is only reserved is not charged.
HOARD = f"print(len(b'x' * {2 * LIMITS.memory_bytes}))"


@dataclass(frozen=True)
class CommandResult:
    output: str
    state: ContainerState


def gvisor_on(name: str) -> Check:
    result = run_in_sandbox("dmesg")
    if "gVisor" in result.output:
        return ok(name, "confirmed by dmesg in a sandbox")
    return broken(name, f"dmesg in a sandbox prints: {excerpt(result.output)}", REGISTER)


def seccomp_on(name: str) -> Check:
    if run_in_sandbox("mkdir", "/tmp/probe").state.exit_code != 0:  # noqa: S108
        return broken(name, "a sandbox cannot create a directory even without a profile", "see Docker's log")
    result = run_in_sandbox("mkdir", "/tmp/probe", seccomp=json.dumps(NO_MKDIR))  # noqa: S108
    if result.state.exit_code != 0 and "not permitted" in result.output:
        return ok(name, "a profile that denies mkdir is enforced")
    effect = excerpt(result.output) or "mkdir succeeded"
    return broken(name, f"under a profile that denies mkdir: {effect}", REGISTER)


def network_dark(name: str) -> Check:
    result = run_in_sandbox("python3", "-c", CONNECT)
    *interfaces, error = result.output.split() or [""]
    if set(interfaces) <= {"lo"} and error in ("ENETUNREACH", "EHOSTUNREACH"):
        return ok(name, "a sandbox has no interface but lo and cannot connect")
    return broken(name, f"interfaces and result of a connection attempt: {excerpt(result.output)}", REGISTER)


def memory_limit(name: str) -> Check:
    result = run_in_sandbox("python3", "-c", HOARD)
    # SIGKILL is enough: only the kernel kills this sandbox, and Docker's OOMKilled is wrongly false in a few runs of
    # a hundred (cgroup v1).
    if result.state.oom_killed or result.state.exit_code == KILLED:
        return ok(name, "the host's kernel kills a sandbox that exceeds its memory limit")
    return broken(
        name,
        f"a sandbox used twice its memory limit: {excerpt(result.output) or result.state}",
        "let Docker control the memory cgroup (docker info must show no warning about it)",
    )


def in_the_kernel(name: str) -> Check:
    """Look at a sandbox's cgroup while it runs: where the kernel has its limits, and what it has used."""
    engine = get_engine()
    with _sandbox("/bin/sh", "-c", trial.SCRIPT) as (container, channel):
        engine.start(container)
        select.select([channel], [], [], PATIENCE_S)
        place, used = cgroup.folder(container, "memory"), cgroup.usage(container)
        limit, weight = cgroup.memory_limit(container), cgroup.cpu_weight(container)
    if not place or not used:
        detail = f"no cgroup of a sandbox in {settings.SANDBOX_CGROUP_ROOT}: CPU time and memory are not measured"
        return broken(name, detail, "mount the host's cgroup tree there (docs/systemd.md)")
    where = f"/{place.parent.relative_to(settings.SANDBOX_CGROUP_ROOT)}"
    if limit != LIMITS.memory_bytes:
        return broken(name, f"in {where} the memory limit is {limit}", "see Docker's or runsc's cgroup support")
    if weight is None or weight > HEAVIEST:
        fix = "see *Docker's cgroups* above: a busy sandbox competes with the whole host"
        return warning(name, f"in {where} the CPU weight is {weight}, not the least", fix)
    return ok(name, f"in {where}: memory limit and CPU weight {weight}; CPU time and peak memory are measured")


def run_in_sandbox(*command: str, seccomp: str = "unconfined") -> CommandResult:
    """Run a command in a sandbox of its own and return its output and final state."""
    engine = get_engine()
    with _sandbox(*command, seccomp=seccomp) as (container, channel):
        engine.start(container)
        output = _read_all(channel)
        return CommandResult(output.decode(errors="replace"), engine.state_after_end(container))


@contextmanager
def _sandbox(*command: str, seccomp: str = "unconfined") -> Iterator[tuple[str, Channel]]:
    """Make a sandbox that is not started yet, with its channel; remove it in the end."""
    engine = get_engine()
    container = engine.create(
        SandboxSpec(
            image=_image(),
            limits=LIMITS,
            seccomp=seccomp,
            # Not the pool's kind, or the keeper would remove the container as a stray.
            labels={KIND_LABEL: "doctor"},
            command=command,
        )
    )
    try:
        with closing(engine.attach(container)) as channel:
            yield container, channel
    finally:
        engine.remove(container)


def _read_all(channel: Channel) -> bytes:
    output = b""
    deadline = time.monotonic() + PATIENCE_S
    while select.select([channel], [], [], max(0, deadline - time.monotonic()))[0]:
        arrived = channel.receive()
        if arrived is None:
            return output
        output += arrived[0] + arrived[1]
    raise EngineError(f"a sandbox did not end within {PATIENCE_S} s")


def _image() -> str:
    for runtime in Runtime.objects.enabled():
        try:
            get_engine().image_id(runtime.live_image)
        except ImageMissing:
            continue
        return runtime.live_image
    raise EngineError(f"node {settings.SANDBOX_NODE} has no image of an enabled runtime")


def excerpt(text: str) -> str:
    return " ".join(text.split())[:200]
