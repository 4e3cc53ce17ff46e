"""The forwarder to mirrors as a process beside the builder. The builder's own image has its program, not a registry."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from builds.engine import FETCHER
from sandboxes.engine import EngineError

PROGRAM = settings.BASE_DIR / "images/fetch/forwarder.py"
PYTHON = "/usr/bin/python3"
END_S = 10


class Forwarder:
    """`folder`: where its routes are, and in a folder of their own its sockets."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.door = folder / "door"
        self.door.mkdir(mode=0o755)
        os.chown(self.door, FETCHER, FETCHER)
        self._process: subprocess.Popen[bytes] | None = None

    def route(self, routes: Mapping[str, Mapping[str, str]]) -> None:
        """Write the routes, which may hold the password of a proxy, readable for the forwarder only."""
        with open(self._routes, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(routes, file)
        os.chown(self._routes, FETCHER, FETCHER)

    @property
    def _routes(self) -> Path:
        return self.door.parent / "routes.json"

    def start(self) -> None:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise EngineError("setpriv is missing here: see images/builder")
        unprivileged = [
            setpriv, f"--reuid={FETCHER}", f"--regid={FETCHER}", "--clear-groups", "--no-new-privs",
            "--bounding-set=-all", "--inh-caps=-all",
            # It ends with the process that makes the build, however that ends.
            "--pdeathsig=KILL",
        ]  # fmt: skip
        # It may have no right to any folder above its own, nor to the platform's.
        program = [PYTHON, "-I", "-B", "-c", PROGRAM.read_text(encoding="utf-8"), ".", "../routes.json"]
        try:
            # Nothing of this process's environment: it has addresses of secrets.
            self._process = subprocess.Popen(
                [*unprivileged, *program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self.door,
                env={},
            )
        except OSError as e:
            raise EngineError(f"forwarder: {e}") from e

    def remove(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(END_S)
            self._process = None
