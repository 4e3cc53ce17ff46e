"""Reads and writes files of a container's file system. A process that sees nothing else does it: see rooted.py."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from builds.buildah import rooted
from sandboxes.engine import EngineError

CHUNK = 1 << 20
# After its last byte.
END_S = 60
MOST_COMPLAINT = 500


def read(root: Path, path: str) -> Iterator[bytes]:
    """Yield a file or a folder of the container as a tar archive; nothing if it does not exist. Raises EngineError."""
    with (
        tempfile.TemporaryFile() as complaint,
        _process(root, "read", path, complaint, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None  # noqa: S101
        # Closed also when the caller has had enough, which ends the process.
        with process.stdout as stdout:
            while chunk := stdout.read(CHUNK):
                yield chunk
        _check(process, complaint, f"read {path}")


def write(root: Path, path: str, chunks: Iterable[bytes]) -> None:
    """Put what a tar archive has below a folder of the container. Raises EngineError, and what `chunks` raises."""
    with (
        tempfile.TemporaryFile() as complaint,
        _process(root, "write", path, complaint, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process,
    ):
        assert process.stdin is not None  # noqa: S101
        try:
            # It may have complained and ended.
            with suppress(BrokenPipeError), process.stdin as stdin:
                for chunk in chunks:
                    stdin.write(chunk)
        except BaseException:
            process.kill()
            raise
        _check(process, complaint, f"write {path}")


def _process(
    root: Path, verb: str, path: str, complaint: IO[bytes], *, stdin: int, stdout: int
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-I", "-S", "-B", rooted.__file__, str(root), verb, path]
    try:
        # It has no use for this process's environment, which has secrets.
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=complaint, env={})
    except OSError as e:
        raise EngineError(f"{verb} {path}: {e}") from e


def _check(process: "subprocess.Popen[bytes]", complaint: IO[bytes], what: str) -> None:
    try:
        status = process.wait(END_S)
    except subprocess.TimeoutExpired as e:
        process.kill()
        raise EngineError(f"{what}: does not end") from e
    if status:
        complaint.seek(0)
        said = complaint.read(MOST_COMPLAINT).decode(errors="replace").strip()
        raise EngineError(f"{what}: {said or f'ended with status {status}'}")
