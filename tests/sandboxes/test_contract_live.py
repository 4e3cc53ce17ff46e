"""What the rest of the platform counts on, for each engine: ends, killers, labels, images, doors and traces."""

import errno
import json
import select
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from executions.models import Outcome
from executions.verdict import Verdict, decide
from runtimes.manifests import load_all
from runtimes.models import MIB, Limits
from sandboxes import cgroup, doors, shell, tracing
from sandboxes.engine import Engine
from sandboxes.layout import PIDS_BASE, PIDS_PER_PROCESS, ROW_LABEL
from sandboxes.session import Report, Session
from tests.bare import bare_image as make_bare_image
from tests.images.chosen import chosen
from tests.sandboxes.guest import LIMITS, each_engine, guest, job, run, spec

__all__ = ["each_engine"]
pytestmark = pytest.mark.needs_docker

QUICK = replace(LIMITS, wall_time_ms=1500, memory_bytes=96 * MIB)


def ended(engine: Engine, code: str, limits: Limits = QUICK, language: str = "python") -> tuple[Report, Verdict]:
    with guest(engine, spec(language, limits=limits)) as it:
        report = Session(it.channel, it.id, limits).run(
            job(code, language, mode="script", output_action=limits.output_action)
        )
        return report, decide(report, engine.state_after_end(it.id) if report.end is None else None, limits)


KILLERS: dict[str, tuple[str, dict[str, Any], set[Outcome]]] = {
    "endless loop": ("while True: pass", {}, {Outcome.WALL_TIME}),
    "CPU time": ("while True: pass", {"wall_time_ms": 20_000, "cpu_time_ms": 600}, {Outcome.CPU_TIME}),
    "sleeps, deaf to SIGTERM": (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)", {}, {Outcome.WALL_TIME},
    ),
    "memory": ("x = b'x' * (300 << 20)", {"wall_time_ms": 20_000}, {Outcome.MEMORY}),
    "a full /workspace": (
        "f = open('x', 'wb', buffering=0)\nfor _ in range(99): f.write(bytes(1 << 20))", {"wall_time_ms": 20_000},
        {Outcome.NONZERO_EXIT, Outcome.SIGNALLED},
    ),
    "flood on stdout": (
        "while True: print('x' * 9999)", {"wall_time_ms": 20_000, "output_action": "kill"}, {Outcome.STDOUT}
    ),
    # Either it is refused more processes, or it runs into a limit while they work against each other.
    "fork bomb": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", {},
        {Outcome.WALL_TIME, Outcome.CPU_TIME, Outcome.MEMORY},
    ),
}  # fmt: skip


@pytest.mark.parametrize("killer", KILLERS)
def test_killer_ends_with_its_own_verdict(each_engine: Engine, killer: str) -> None:
    code, limits, outcomes = KILLERS[killer]
    _, verdict = ended(each_engine, code, replace(QUICK, **limits))
    assert verdict.outcome in outcomes


def test_fork_bomb_has_no_more_of_the_hosts_threads_than_its_share(each_engine: Engine) -> None:
    limits = replace(LIMITS, processes=16)
    with guest(each_engine, spec(limits=limits)) as it:
        it.channel.send(job("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass").frame())
        time.sleep(1)
        folder = cgroup.folder(it.id, "pids")
        assert folder
        most = int((folder / "pids.max").read_text())
        assert (
            int((folder / "pids.current").read_text()) <= most == PIDS_BASE + PIDS_PER_PROCESS * limits.processes
        )
    assert run(each_engine, "def main(): return 1").result == b"1"


def test_nothing_is_left_of_a_removed_sandbox(each_engine: Engine) -> None:
    with guest(each_engine, spec()) as it:
        it.run(job("import os\nos.fork()\nimport time; time.sleep(0.1)", mode="script"))
        assert cgroup.usage(it.id)
    assert it.id not in [container.id for container in each_engine.containers()]
    assert cgroup.usage(it.id) is None
    assert list(settings.SANDBOX_RUN_DIR.rglob(f"*{it.id}*")) == []
    each_engine.kill(it.id)
    each_engine.remove(it.id)


def test_sandbox_is_found_by_its_labels_on_its_node_alone(each_engine: Engine) -> None:
    with guest(each_engine, spec(labels={ROW_LABEL: "77"})) as it:
        (found,) = each_engine.containers()
        assert (found.id, found.sandbox, found.running) == (it.id, "77", True)
        assert each_engine.containers("inspection") == []
        with override_settings(SANDBOX_NODE="another"):
            assert each_engine.containers() == []
        each_engine.kill(it.id)
        assert not each_engine.state_after_end(it.id).running
        assert [container.running for container in each_engine.containers()] == [False]


@pytest.mark.parametrize("slug", [manifest.slug for manifest in chosen()])
def test_runtime_runs_its_first_smoke_program(each_engine: Engine, slug: str) -> None:
    (manifest,) = (manifest for manifest in load_all() if manifest.slug == slug)
    fields = manifest.fields
    program = next(p for p in fields["smoke"] if p["expect"].get("exit_code", 0) == 0)
    commands = {name: shlex.split(fields.get(f"{name}_command", "")) for name in ("compile", "run", "function")}
    config = {"commands": commands} if commands["run"] else {}
    limits = replace(LIMITS, memory_bytes=1024 * MIB, workspace_bytes=256 * MIB)
    with guest(each_engine, spec(image=fields["image"], limits=limits, runner_config=config)) as it:
        seen = it.run(
            job(
                program["code"],
                source_file=fields["source_file"],
                mode=program.get("mode", "script"),
                stdin=program.get("stdin", ""),
                argv=program.get("argv", []),
                arguments=json.dumps(program.get("arguments", {})),
            )
        )
    assert seen.end is not None, seen.complaint
    assert seen.end.exit_code == 0, seen.stderr
    if "stdout" in program["expect"]:
        assert seen.stdout.decode() == program["expect"]["stdout"]


@pytest.fixture(scope="module")
def bare_image() -> Iterator[str]:
    with make_bare_image() as image:
        yield image


def test_image_with_nothing_but_a_shell_runs_a_program_as_nobody(each_engine: Engine, bare_image: str) -> None:
    sandbox = each_engine.create(spec(image=bare_image, command=shell.COMMAND, as_nobody=True))
    channel = each_engine.attach(sandbox)
    try:
        each_engine.start(sandbox)
        time.sleep(0.2)
        channel.send(b"echo $((6 * 7)) >&2; exit 3\n")
        stderr = b""
        while select.select([channel], [], [], 20)[0] and (received := channel.receive()) is not None:
            stderr += received[0] + received[1]
        assert (b"42" in stderr, each_engine.state_after_end(sandbox).exit_code) == (True, 3)
    finally:
        channel.close()
        each_engine.remove(sandbox)


def test_program_reaches_the_socket_of_its_door_and_no_other(each_engine: Engine, tmp_path: Path) -> None:
    code = """
import os, socket
def main():
    found = []
    for path in ("/run/egress/door", "/run/egress/other"):
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(path)
                found.append(s.recv(99).decode())
            except OSError as e:
                found.append(type(e).__name__)
    try:
        open("/run/egress/new", "w")
    except OSError as e:
        found.append(e.errno)
    return found
"""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / doors.SOCKET))
        (tmp_path / doors.SOCKET).chmod(0o666)
        tmp_path.chmod(0o755)
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].sendall(b"hello"), daemon=True).start()
        with guest(each_engine, spec(door=str(tmp_path))) as it:
            assert json.loads(it.run(job(code)).result or b"") == ["hello", "FileNotFoundError", errno.EACCES]


def test_trace_names_the_calls_of_the_program(each_engine: Engine) -> None:
    with (
        tracing.reading() as reader,
        guest(each_engine, spec(trace_to=str(reader.path))) as it,
    ):
        it.run(job("import os\ndef main(): os.mkdir('/tmp/traced')"))
        each_engine.kill(it.id)
        each_engine.state_after_end(it.id)
        assert reader.result().called["mkdir"]
