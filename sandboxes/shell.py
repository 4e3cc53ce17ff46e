"""Runs programs in images without a runner, with only /bin/sh: see docs/builds.md, "Any image".

The sandbox's first process is the shell, as the unprivileged user. It sends a runner's hello frame, then reads a
script from its stdin, which writes the files and runs the program. No frames follow: all further output is the
program's, and Docker reports the exit status.
"""

import json
import posixpath
import shlex
from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Any

from runtimes.models import OutputAction
from sandboxes.protocol import VERSION, Job
from sandboxes.session import EndedBy, Report, Session

WORKSPACE = "/workspace"
STDIN = "/tmp/stdin"  # noqa: S108
PROGRAM = "/tmp/program"  # noqa: S108
# Bytes per printf call: the shell holds each argument in memory.
PIECE = 1000
# Measure often: no frame announces the program's end, and the sandbox's figures vanish with the sandbox.
TICK_S = 0.05


def _escaped(content: bytes) -> str:
    """Return a printf format, for single quotes, that prints `content`. The shell interprets nothing; NUL works too."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b"%\\'" else f"\\{b:03o}" for b in content)


def _hello() -> bytes:
    payload = json.dumps({"protocol": VERSION}).encode()
    return b"H" + len(payload).to_bytes(4, "big") + payload


# `sh -s` reads its script from stdin in blocks; `read` would read byte by byte, 20 microseconds each.
COMMAND = ("/bin/sh", "-c", f"printf '{_escaped(_hello())}'; exec /bin/sh -s")


def script(job: Job, command: Sequence[str]) -> bytes:
    """Return the shell script that writes the files and runs the program.

    The shell remains PID 1, because as PID 1 the program could not even abort() itself.
    """
    source = f"{WORKSPACE}/{job.source_file}"
    files = {source: job.code.encode("utf-8", "surrogatepass")}
    files |= {f"{WORKSPACE}/{file['path']}": b64decode(file["base64"]) for file in job.files}
    lines = [line for path, content in files.items() for line in _written(path, content)]
    if job.stdin:
        lines += _written(STDIN, job.stdin.encode("utf-8", "surrogatepass"))
    lines.append(f"cd {WORKSPACE}")
    for name, value in job.environment.items():
        lines += [f"{name}={shlex.quote(value)}", f"export {name}"]
    lines.append(f"{_command(command, source, job.argv)} <{STDIN if job.stdin else '/dev/null'}; exit $?")
    return "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")


def _written(path: str, content: bytes) -> Iterator[str]:
    folder = posixpath.dirname(path)
    if folder not in (WORKSPACE, "/tmp"):  # noqa: S108
        yield f"mkdir -p {shlex.quote(folder)} || exit 126"  # mkdir is no shell built-in: the image may lack it
    yield "{ :"
    for at in range(0, len(content), PIECE):
        yield f"printf '{_escaped(content[at : at + PIECE])}'"
    yield f"}} >{shlex.quote(path)} || exit 126"


def _command(words: Sequence[str], source: str, argv: Sequence[str]) -> str:
    stem = posixpath.splitext(posixpath.basename(source))[0]
    values = {"{source}": source, "{program}": PROGRAM, "{name}": stem, "{folder}": posixpath.dirname(source)}
    filled = []
    for word in words:
        for name, value in values.items():
            word = word.replace(name, value)
        filled.append(word)
    return shlex.join([*filled, *argv])


class ShellSession(Session):
    """One program in one claimed sandbox without a runner. The host alone enforces the limits."""

    tick_s = TICK_S

    def __init__(self, *arguments: Any, command: Sequence[str]) -> None:
        super().__init__(*arguments)
        self._command = command

    def _opening(self, job: Job) -> bytes:
        return script(job, self._command)

    def _ask_for_end(self) -> bool:
        return False

    def _ask_for_output(self) -> None:
        """Ask nobody: stdin is the shell's script, and the program writes to Docker directly."""

    def _receive(self, report: Report) -> EndedBy | None:
        received = self._channel.receive()
        if received is None:
            return EndedBy.STREAM
        for kept, data in zip((report.stdout, report.stderr), received, strict=True):
            # One byte over the limit marks the output as cut.
            kept += data[: self._limits.output_bytes + 1 - len(kept)]
            if len(kept) > self._limits.output_bytes and self._limits.output_action == OutputAction.KILL:
                return EndedBy.OUTPUT
        return None
