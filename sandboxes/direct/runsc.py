"""The only module that calls `runsc`."""

import functools
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from sandboxes.direct import reaper
from sandboxes.docker_engine import HOST_BIN
from sandboxes.engine import EngineError
from sandboxes.gvisor import has_compiled_filters, released, version_of

# A tenth of a second on most machines. Where the machine is emulated, a minute is not enough for several at once.
TIMEOUT_S = 300
LOG = "runsc.log"
# Where the set-up puts the versions of gVisor that it builds.
BUILDS = "/usr/local/lib/sandbox-platform/gvisor"
# The last is the host's folder that docker-compose.yml mounts.
PATH = f"{os.environ.get('PATH', os.defpath)}:{HOST_BIN}"
FLAGS = (
    # Nothing to attack, nowhere to send to.
    "--network=none",
    # Without it a seccomp profile is accepted and ignored.
    "--oci-seccomp",
)


def binary() -> str:
    """Return the path of the newest runsc, or ""."""
    built = [str(path) for path in Path(BUILDS).glob("*/runsc") if os.access(path, os.X_OK)]
    return settings.SANDBOX_RUNSC or max(built, key=_rank, default="") or shutil.which("runsc", path=PATH) or ""


def _rank(path: str) -> tuple[str, bool, str]:
    version = version_of(path)
    return str(released(version)), has_compiled_filters(version), path


class Runsc:
    def __init__(self) -> None:
        self._root: Path = settings.SANDBOX_RUN_DIR / "runsc"
        self._found = ""

    @property
    def _path(self) -> str:
        # `make setup` may have replaced the version that this process started with.
        if not os.path.exists(self._found):
            self._found = binary()
        if not self._found:
            raise EngineError("runsc is missing on this node; `make setup` installs it")
        return self._found

    def _command(self, flags: Sequence[str], *words: str | Path) -> list[str | Path]:
        return [self._path, f"--root={self._root}", *FLAGS, *flags, *words]

    def _run(self, name: str, folder: Path, flags: Sequence[str], *options: str) -> list[str | Path]:
        flags = [*flags, f"--log={folder / LOG}"]
        return self._command(flags, "run", "--detach", f"--bundle={folder}", *options, name)

    def run(self, name: str, folder: Path, flags: Sequence[str], streams: Sequence[int]) -> None:
        """Start the bundle in `folder` with these stdin, stdout and stderr; return when it runs. Raises EngineError."""
        command = self._run(name, folder, flags)
        try:
            process = subprocess.Popen(command, stdin=streams[0], stdout=streams[1], stderr=streams[2])
        except OSError as e:
            raise EngineError(f"start: {e}") from e
        with process:
            if not _ended(process):
                process.kill()
        if process.returncode:
            raise EngineError(f"start: runsc: {_told(folder) or f'exit status {process.returncode}'}")

    def foreground(self, name: str, folder: Path, flags: Sequence[str], output: int) -> "subprocess.Popen[bytes]":
        """Start the bundle in `folder`; the process ends with the sandbox, and with its exit status.

        `output`: a descriptor for what the program and runsc write. Raises EngineError.
        """
        command = self._command([*flags, f"--log={folder / LOG}"], "run", f"--bundle={folder}", name)
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        except OSError as e:
            raise EngineError(f"start: {e}") from e

    def run_and_record(
        self, name: str, folder: Path, flags: Sequence[str], streams: Sequence[int], into: Path
    ) -> None:
        """Like `run`; a process that outlives this one writes the exit status into a file when the sandbox ends."""
        pid_file = folder / "pid"
        command = self._run(name, folder, flags, f"--pid-file={pid_file}")
        answer, started = os.pipe()
        with os.fdopen(answer, "rb") as told:
            try:
                subprocess.Popen(
                    [sys.executable, "-I", reaper.__file__, str(started), pid_file, into, *command],
                    stdin=streams[0],
                    stdout=streams[1],
                    stderr=streams[2],
                    pass_fds=[started],
                    start_new_session=True,
                )
            except OSError as e:
                raise EngineError(f"start: {e}") from e
            finally:
                os.close(started)
            # Ends with the process at the latest, and `run` has a time limit of its own.
            if not select.select([told], [], [], TIMEOUT_S)[0] or told.readline() != b"0\n":
                raise EngineError(f"start: runsc: {_told(folder)}")

    def kill(self, name: str) -> None:
        """End a sandbox that has no cgroup of its own, and forget it. Succeeds for one that is gone."""
        if self._state(name).exists():
            self._delete(name)
        self.delete(name)

    def delete(self, name: str) -> None:
        """Forget a sandbox whose processes are gone.

        Then runsc would only remove its files of the sandbox, for the price of a process. A file that stayed would
        cost each later start, because runsc looks through the folder.
        """
        state = self._state(name)
        if not state.exists():
            self._delete(name)
        # Also then: of a start that was killed before it had a state, runsc knows nothing and leaves the rest.
        for file in (state, state.with_suffix(".lock"), self._root / f"runsc-{name}.sock"):
            file.unlink(missing_ok=True)

    def _state(self, name: str) -> Path:
        return self._root / f"{name}_sandbox:{name}.state"

    def _delete(self, name: str) -> None:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                self._command([], "delete", "--force", name), capture_output=True, timeout=TIMEOUT_S, check=False
            )

    def version(self) -> str:
        path = self._path
        return _version(path, os.stat(path).st_mtime_ns)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the process ended in time. Popen.wait with a timeout polls, at intervals of up to 50 ms."""
    pidfd = os.pidfd_open(process.pid)
    try:
        return bool(select.select([pidfd], [], [], TIMEOUT_S)[0])
    finally:
        os.close(pidfd)


def _told(folder: Path) -> str:
    with suppress(OSError):
        return (folder / LOG).read_text(errors="replace")[-500:].strip()
    return ""


@functools.lru_cache(maxsize=1)
def _version(path: str, _changed_at: int) -> str:
    return version_of(path)
