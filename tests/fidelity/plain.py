"""The plain side: one container of the runtime's image for all its cases, with the image's own interpreter in it."""

import base64
import contextlib
import json
import select
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.test import override_settings

from sandboxes.docker_engine import DockerEngine
from sandboxes.engine import Engine, SandboxSpec
from tests.fidelity.cases import Case
from tests.fidelity.limits import LIMITS
from tests.fidelity.outcome import Outcome

DRIVER = Path(__file__).with_name("plain_driver.py")
START_S = 60.0
# How somebody runs a program of a language whose runtime has a worker of its own.
COMMANDS = {
    "python": "python3 {source}",
    "nodejs": "node {source}",
    # The way of the package that the image removes types with.
    "typescript": "node -r /opt/sandbox/node_modules/sucrase/register {source}",
    "ruby": "ruby {source}",
    "php": "php {source}",
    "r": "Rscript {source}",
}


class PlainSideFailed(Exception):
    """The driver did not report, which is a fault of the harness and says nothing about the platform."""


def commands(case: Case) -> tuple[list[str], list[str]]:
    """Return the words of the compile command, or none, and those of the run command."""
    values = case.manifest.fields
    if case.runtime in COMMANDS:
        return [], shlex.split(COMMANDS[case.runtime])
    return shlex.split(values.get("compile_command", "")), shlex.split(values["run_command"])


def as_run(case: Case) -> dict[str, Any]:
    compile_words, run_words = commands(case)
    return {
        "name": case.name,
        "code": case.program,
        "source_file": case.source,
        "files": case.files_base64,
        "stdin": case.stdin,
        "stdin_times": case.stdin_times,
        "argv": list(case.argv),
        "environment": dict(case.environment),
        "seconds": case.seconds,
        "compile": compile_words,
        "run": run_words,
    }


@contextlib.contextmanager
def _runtime(name: str) -> Iterator[None]:
    """Start containers with this registration of Docker's in place of gVisor's."""
    with override_settings(SANDBOX_GVISOR_RUNTIME=name) if name else contextlib.nullcontext():
        yield


def run_all(engine: Engine, image: str, cases: Sequence[Case], *, docker_runtime: str = "") -> dict[str, Outcome]:
    """Return by name how each case ended. All are of one runtime."""
    outcomes: dict[str, Outcome] = {}
    while left := [case for case in cases if case.name not in outcomes]:
        outcomes |= _run_until_end(engine, image, left, docker_runtime)
        if lost := [case for case in left if case.name not in outcomes]:
            # Its program took the container with it, for example by using up the memory.
            outcomes[lost[0].name] = Outcome(lost=True)
    return outcomes


def _run_until_end(engine: Engine, image: str, cases: Sequence[Case], docker_runtime: str) -> dict[str, Outcome]:
    spec = SandboxSpec(
        image=image,
        limits=LIMITS,
        environment=cases[0].manifest.fields.get("environment", {}),
        command=("/usr/bin/python3", "-I", "-S", "-c", DRIVER.read_text(encoding="utf-8")),
        as_nobody=True,
    )
    if docker_runtime:
        engine = DockerEngine()
    with _runtime(docker_runtime):
        container = engine.create(spec)
    channel = engine.attach(container)
    try:
        engine.start(container)
        payload = json.dumps([as_run(case) for case in cases]).encode()
        channel.send(len(payload).to_bytes(4, "big") + payload)
        records = _records(channel, START_S + sum(case.seconds for case in cases))
        return {record["name"]: _outcome(record) for record in records}
    finally:
        channel.close()
        engine.remove(container)


def _records(channel: Any, seconds: float) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    printed, complaint = bytearray(), b""
    while select.select([channel], [], [], max(0, deadline - time.monotonic()))[0]:
        received = channel.receive()
        if received is None:
            if complaint:
                raise PlainSideFailed(complaint.decode(errors="replace"))
            return [json.loads(line) for line in printed.splitlines()]
        printed += received[0]
        complaint += received[1]
    raise PlainSideFailed(f"no end within {seconds:.0f} s: {complaint.decode(errors='replace')}")


def _outcome(record: dict[str, Any]) -> Outcome:
    return Outcome(
        exit_code=record["exit_code"],
        signal=record["signal"],
        stdout=base64.b64decode(record["stdout"]),
        stderr=base64.b64decode(record["stderr"]),
        files={name: base64.b64decode(content) for name, content in record["files"].items()},
        timed_out=record["timed_out"],
        dropped=tuple(f"{name} (not readable)" for name in record["unreadable"]),
    )
