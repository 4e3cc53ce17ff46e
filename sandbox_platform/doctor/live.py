"""Checks that look from inside a sandbox: each starts one of its own and throws it away."""

import json
import select
import signal
import time
from dataclasses import dataclass

from django.conf import settings

from runtimes.models import MIB, Limits, Runtime
from sandbox_platform.doctor.check import Check, broken, ok
from sandboxes.docker_engine import KIND_LABEL, get_engine
from sandboxes.engine import Channel, ContainerState, EngineError, ImageMissing, SandboxSpec

PATIENCE_S = 30
KILLED = 128 + signal.SIGKILL
REGISTER = "run `make setup`: it registers gVisor with --network=none and --oci-seccomp"
LIMITS = Limits(
    wall_time_ms=PATIENCE_S * 1000,
    cpu_time_ms=PATIENCE_S * 1000,
    cpus=1,
    memory_bytes=128 * MIB,
    processes=64,
    open_files=256,
    workspace_bytes=4 * MIB,
    tmp_bytes=4 * MIB,
    output_bytes=MIB,
    output_action="kill",
    result_bytes=MIB,
    artifact_count=0,
    artifact_bytes=0,
)
NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}
# TEST-NET-1, which is nobody's: with a network the attempt hangs; without one it fails at once.
CONNECT = """
import errno, socket
names = [name for _, name in socket.if_nameindex()]
probe = socket.socket()
probe.settimeout(2)
print(*sorted(names), errno.errorcode.get(probe.connect_ex(("192.0.2.1", 80))))
"""
# Written, not only reserved: reserved memory costs nothing.
HOARD = f"print(len(b'x' * {2 * LIMITS.memory_bytes}))"


@dataclass(frozen=True)
class Seen:
    output: str
    state: ContainerState


def gvisor_on(name: str) -> Check:
    seen = look("dmesg")
    if "gVisor" in seen.output:
        return ok(name, "a sandbox's dmesg says so")
    return broken(name, f"a sandbox's dmesg says: {excerpt(seen.output)}", REGISTER)


def seccomp_on(name: str) -> Check:
    if look("mkdir", "/tmp/probe").state.exit_code != 0:  # noqa: S108
        return broken(name, "a sandbox cannot make a folder even without a profile", "look at Docker's log")
    seen = look("mkdir", "/tmp/probe", seccomp=json.dumps(NO_MKDIR))  # noqa: S108
    if seen.state.exit_code != 0 and "not permitted" in seen.output:
        return ok(name, "a profile that refuses mkdir is obeyed")
    return broken(name, f"a profile that refuses mkdir: {excerpt(seen.output) or 'made the folder'}", REGISTER)


def network_dark(name: str) -> Check:
    seen = look("python3", "-c", CONNECT)
    *interfaces, error = seen.output.split() or [""]
    if set(interfaces) <= {"lo"} and error in ("ENETUNREACH", "EHOSTUNREACH"):
        return ok(name, "a sandbox has no interface but lo, and no way out")
    return broken(name, f"interfaces and attempt to connect: {excerpt(seen.output)}", REGISTER)


def memory_limit(name: str) -> Check:
    seen = look("python3", "-c", HOARD)
    # Nobody else kills it, and Docker's own OOMKilled is false in some runs of a hundred (cgroup v1).
    if seen.state.oom_killed or seen.state.exit_code == KILLED:
        return ok(name, "a sandbox that takes too much is killed by the host's kernel")
    return broken(
        name,
        f"a sandbox took twice its memory: {excerpt(seen.output) or seen.state}",
        "let Docker control the memory cgroup (docker info must show no warning about it)",
    )


def look(*command: str, seccomp: str = "unconfined") -> Seen:
    """What a command prints in a sandbox of its own, and how it ended."""
    engine = get_engine()
    container = engine.create(
        SandboxSpec(
            image=_image(),
            limits=LIMITS,
            seccomp=seccomp,
            # Another kind than the pool's, or the keeper would take it for a stray.
            labels={KIND_LABEL: "doctor"},
            command=command,
        )
    )
    try:
        channel = engine.attach(container)
        try:
            engine.start(container)
            output = _read_all(channel)
        finally:
            channel.close()
        return Seen(output.decode(errors="replace"), engine.state_after_end(container))
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
    raise EngineError(f"no image of an enabled runtime is on node {settings.SANDBOX_NODE}")


def excerpt(text: str) -> str:
    return " ".join(text.split())[:200]
