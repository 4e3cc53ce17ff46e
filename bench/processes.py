"""The platform as plain processes of this machine, with a Postgres of its own, to compare engines side by side."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import requests

from scripts.embedded_postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    ["-m", "gunicorn", "sandbox_platform.wsgi", "-c", "sandbox_platform/gunicorn.py", "--preload"],
    ["manage.py", "worker"],
    ["manage.py", "keeper"],
)
READY_S = 180
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Processes:
    """Web, worker, keeper and Postgres. Only `runtimes` are enabled."""

    def __init__(self, engine: str, folder: Path, runtimes: list[str]) -> None:
        self.engine = engine
        self.token = uuid.uuid4().hex
        self._folder = folder
        self._runtimes = runtimes
        self._postgres = EmbeddedPostgres(folder)
        self._port = _free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def database_url(self) -> str:
        return self._postgres.url

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": self._postgres.url,
            "DJANGO_SECRET_KEY": self.token,
            "SANDBOX_ENGINE": self.engine,
            "SANDBOX_NODE": f"bench-{self.engine}-{self.token[:12]}",
            "SANDBOX_EXECUTOR_MANAGER_API_TOKEN": self.token,
            "SANDBOX_LISTEN": "127.0.0.1",
            "SANDBOX_LISTEN_PORT": str(self._port),
            "SANDBOX_BUILT_RUNTIMES": ",".join(self._runtimes),
        }

    def start(self) -> None:
        self._postgres.start()
        for command in (["migrate", "-v0"], ["bootstrap"]):
            subprocess.run(
                [sys.executable, "manage.py", *command],
                cwd=ROOT, env=self.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        with psycopg.connect(self.database_url) as database:
            database.execute("UPDATE runtimes_runtime SET enabled = slug = ANY(%s)", [self._runtimes])
        with (self._folder / "log").open("wb") as log:
            for command in COMMANDS:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        cwd=ROOT,
                        env=self.environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )  # fmt: skip
                )
        deadline = time.monotonic() + READY_S
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.engine}: not ready within {READY_S} s; see {self._folder}/log")
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/readyz", timeout=5).ok
        return False

    def stop(self) -> None:
        end(self._processes)
        self._postgres.stop()

    def own(self) -> Iterator[Path]:
        """Yield the folder in /proc of each process of the platform and of Postgres; no sandbox, no `runsc`."""
        sessions = {process.pid for process in self._processes}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
                program = (folder / "cmdline").read_bytes().split(b"\0")[0]
                if (session in sessions and b"python" in program) or self._is_of_postgres(folder):
                    yield folder

    def cpu_s(self) -> float:
        """Return the CPU time of the processes in `own`."""
        total = 0.0
        for folder in self.own():
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
        return total

    def _is_of_postgres(self, process: Path) -> bool:
        return Path(os.readlink(process / "cwd")).is_relative_to(self._folder)


@contextmanager
def platform(engine: str, runtimes: list[str]) -> Iterator[Processes]:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by default nothing would be stopped and removed
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    processes = Processes(engine, folder, runtimes)
    try:
        processes.start()
        yield processes
    finally:
        processes.stop()
        _remove_sandboxes(processes)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_sandboxes(processes: Processes) -> None:
    program = (
        "import django; django.setup()\n"
        "from sandboxes.engines import get_engine\n"
        "engine = get_engine()\n"
        "for container in engine.containers(): engine.remove(container.id)\n"
    )
    environment = processes.environment | {"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes that lead a group each, and the groups of those that do not end by themselves."""
    for process in processes:
        process.terminate()
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
