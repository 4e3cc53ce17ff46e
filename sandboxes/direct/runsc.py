"""The only module that calls `runsc`."""

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from sandboxes.engine import EngineError
from sandboxes.gvisor import released, version_of

TIMEOUT_S = 60
# Where the set-up puts the versions of gVisor that it builds.
BUILDS = "/usr/local/lib/sandbox-platform/gvisor"
FLAGS = (
    # Nothing to attack, nowhere to send to.
    "--network=none",
    # Without it a seccomp profile is accepted and ignored.
    "--oci-seccomp",
)


def binary() -> str:
    """Return the path of the newest runsc, or ""."""
    built = [str(path) for path in Path(BUILDS).glob("*/runsc") if os.access(path, os.X_OK)]
    newest = max(built, key=lambda path: (str(released(version_of(path))), path), default="")
    return settings.SANDBOX_RUNSC or newest or shutil.which("runsc") or ""


class Runsc:
    def __init__(self) -> None:
        self._root: Path = settings.SANDBOX_RUN_DIR / "runsc"

    @functools.cached_property
    def _path(self) -> str:
        if not (path := binary()):
            raise EngineError("runsc is missing on this node; `make setup` installs it")
        return path

    def _command(self, flags: Sequence[str], *words: str | Path) -> list[str | Path]:
        return [self._path, f"--root={self._root}", *FLAGS, *flags, *words]

    def run(self, name: str, folder: Path, flags: Sequence[str], streams: Sequence[int]) -> None:
        """Start the bundle in `folder` with these stdin, stdout and stderr; return when it runs. Raises EngineError."""
        log = folder / "runsc.log"
        command = self._command([*flags, f"--log={log}"], "run", "--detach", f"--bundle={folder}", name)
        try:
            subprocess.run(
                command, stdin=streams[0], stdout=streams[1], stderr=streams[2], timeout=TIMEOUT_S, check=True
            )
        except (OSError, subprocess.SubprocessError) as e:
            told = ""
            with suppress(OSError):
                told = log.read_text(errors="replace")[-500:].strip()
            raise EngineError(f"start: runsc: {told or e}") from e

    def wait_in_background(self, name: str, into: Path) -> None:
        """Start a process that writes the exit status into a file when the sandbox ends."""
        with open(into, "wb") as file:
            subprocess.Popen(  # outlives this process, as the sandbox does
                self._command([], "wait", name),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def delete(self, name: str) -> None:
        """Forget a sandbox whose processes are gone."""
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                self._command([], "delete", "--force", name), capture_output=True, timeout=TIMEOUT_S, check=False
            )

    def version(self) -> str:
        path = self._path
        return _version(path, os.stat(path).st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _version(path: str, _changed_at: int) -> str:
    return version_of(path)
