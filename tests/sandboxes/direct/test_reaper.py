"""The exit status of a process that its starter detached, as runsc does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandboxes.direct import reaper
from tests.live import eventually

# Starts a grandchild, writes its pid, and ends.
DETACH = "sh -c 'sleep 0.2; {}' & echo $! > {}"


def start(folder: Path, command: str) -> str:
    """Run the reaper; return what it told of the start."""
    answer, started = os.pipe()
    words = [
        sys.executable,
        "-I",
        reaper.__file__,
        str(started),
        folder / "pid",
        folder / "exit",
        "sh",
        "-c",
        command,
    ]
    process = subprocess.Popen(words, pass_fds=[started])
    os.close(started)
    with os.fdopen(answer) as told:
        line = told.readline()
    process.wait(10)
    return line


@pytest.mark.parametrize(("ends", "status"), [("exit 7", 7), ("true", 0), ("kill -9 $$", 137)])
def test_status_of_a_detached_process_is_written(tmp_path: Path, ends: str, status: int) -> None:
    assert start(tmp_path, DETACH.format(ends, tmp_path / "pid")) == "0\n"
    eventually((tmp_path / "exit").exists, "the status is there", 10)
    assert json.loads((tmp_path / "exit").read_text()) == {"exitStatus": status}


def test_failed_start_is_told_and_writes_nothing(tmp_path: Path) -> None:
    assert start(tmp_path, "exit 3") == "3\n"
    assert not (tmp_path / "exit").exists()
