"""The script for an image without a runner, told to a real shell; and the session that goes with it."""

import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from runtimes.models import Limits, OutputAction
from sandboxes.docker_engine import DockerChannel
from sandboxes.protocol import Frames
from sandboxes.session import EndedBy, Report
from sandboxes.shell import COMMAND, ShellSession, script
from tests.sandboxes.guest import LIMITS, job

EVERY_BYTE = bytes(range(256)) * 9


def told(folder: Path, command: list[str], **fields: Any) -> subprocess.CompletedProcess[bytes]:
    """What the shell of a sandbox would do, in a folder instead of /workspace and /tmp."""
    text = script(job(fields.pop("code", ""), **fields), command)
    here = str(folder).encode()
    text = text.replace(b"/workspace", here).replace(b"/tmp/stdin", here + b"/stdin")
    return subprocess.run(
        ["/bin/sh", "-s"], input=text, capture_output=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )


def test_shell_says_hello_as_a_runner_would() -> None:
    done = subprocess.run(["/bin/sh", *COMMAND[1:]], input=b"exit 3\n", capture_output=True, check=False)
    assert list(Frames().feed(done.stdout)) == [(b"H", b'{"protocol": 2}')]
    assert done.returncode == 3


def test_program_is_run_with_its_arguments(tmp_path: Path) -> None:
    done = told(
        tmp_path, ["/bin/sh", "{source}", "x"], code='echo "$#:$1:$2:$3"; exit 7', argv=["a b", "'$(id)\n;"]
    )
    assert (done.stdout, done.returncode) == (b"3:x:a b:'$(id)\n;\n", 7)


@pytest.mark.parametrize("content", [EVERY_BYTE, b"", b"%s\\n'", b"x" * 100_000])
def test_every_byte_of_a_file_arrives(tmp_path: Path, content: bytes) -> None:
    files = [{"path": "deep/er/it's.bin", "base64": b64encode(content).decode()}]
    assert told(tmp_path, ["true"], files=files).returncode == 0
    assert (tmp_path / "deep/er/it's.bin").read_bytes() == content


def test_program_arrives_as_it_was_sent(tmp_path: Path) -> None:
    code = "print('ä\0%d\\n')\n# '; exit 9; '"
    told(tmp_path, ["true"], code=code)
    assert (tmp_path / "main.py").read_bytes() == code.encode()


def test_stdin_is_the_programs_alone(tmp_path: Path) -> None:
    assert told(tmp_path, ["cat"], stdin="one\n'two'").stdout == b"one\n'two'"
    assert told(tmp_path, ["cat"]).stdout == b""


def test_variables_are_set(tmp_path: Path) -> None:
    done = told(tmp_path, ["printenv", "A"], environment={"A": "'$(id)'\nß"})
    assert done.stdout == "'$(id)'\nß\n".encode()


def test_program_is_not_run_when_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file where a folder should be")
    files = [{"path": "deep/file", "base64": ""}]
    done = told(tmp_path, ["echo", "ran"], files=files)
    assert (done.returncode, done.stdout) == (126, b"")


# --- the session -----------------------------------------------------------------------------------------


@pytest.fixture
def ends(tmp_path: Path, settings: Settings) -> Iterator[tuple[socket.socket, DockerChannel]]:
    settings.SANDBOX_CGROUP_ROOT = tmp_path
    theirs, ours = socket.socketpair()
    channel = DockerChannel(ours)
    yield theirs, channel
    theirs.close()
    channel.close()


def heard(
    ends: tuple[socket.socket, DockerChannel], *said: bytes, limits: Limits = LIMITS, leave: bool = True
) -> Report:
    theirs, channel = ends
    for number, part in enumerate(said, 1):
        theirs.sendall(bytes([number, 0, 0, 0]) + len(part).to_bytes(4, "big") + part)
    if leave:
        theirs.shutdown(socket.SHUT_WR)
    return ShellSession(channel, "c" * 64, limits, command=["sh"]).run(job("code"))


def test_session_ends_with_the_programs_stream(ends: tuple[socket.socket, DockerChannel]) -> None:
    report = heard(ends, b"out", b"err")
    assert (report.ended_by, report.stdout, report.stderr) == (EndedBy.STREAM, b"out", b"err")


def test_output_over_the_limit_is_not_kept(ends: tuple[socket.socket, DockerChannel]) -> None:
    report = heard(ends, b"x" * 5000, limits=replace(LIMITS, output_bytes=1024))
    # One byte more says that there was more.
    assert (report.ended_by, len(report.stdout)) == (EndedBy.STREAM, 1025)


def test_output_over_the_limit_ends_a_run_that_may_not(ends: tuple[socket.socket, DockerChannel]) -> None:
    limits = replace(LIMITS, output_bytes=1024, output_action=OutputAction.KILL)
    assert heard(ends, b"x" * 5000, limits=limits, leave=False).ended_by is EndedBy.OUTPUT


def test_silent_program_is_ended_at_its_wall_time(ends: tuple[socket.socket, DockerChannel]) -> None:
    report = heard(ends, b"out", limits=replace(LIMITS, wall_time_ms=200), leave=False)
    assert report.ended_by is EndedBy.WALL_TIME
