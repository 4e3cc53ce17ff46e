"""The platform as plain processes, as `make dev` runs it, for tests that watch real programs run."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import psycopg
import requests
from django.conf import settings
from django.test import override_settings
from psycopg.rows import dict_row

from runtimes.manifests import load_all
from sandboxes.engine import Engine
from sandboxes.engines import ENGINES
from scripts import embedded_postgres
from scripts.embedded_postgres import EmbeddedPostgres
from scripts.setup.images import built_runtimes
from seccomp_profiles.models import hash_rules
from tests import database
from tests.database import ROOT
from tests.images.chosen import chosen

__all__ = ["ROOT"]
TOKEN = "live-test-token-0123456789abcdef"
ROLE_PASSWORD = "of-every-role-in-tests"
READY_S = 180
COMMANDS = {
    "web": ["-m", "gunicorn", "sandbox_platform.wsgi", "-c", "sandbox_platform/gunicorn.py", "--preload"],
    "worker": ["manage.py", "worker"],
    "keeper": ["manage.py", "keeper"],
    "callbacks": ["manage.py", "callbacks"],
    "egress": ["manage.py", "egress"],
    "builder": ["manage.py", "builder"],
}
STARTED = ("web", "worker", "keeper")  # the others by whoever needs them


def offered_runtimes() -> list[str]:
    """What is built, but no shipped runtime that no test is about: it would only keep the keeper busy."""
    left_out = {manifest.slug for manifest in load_all()} - {manifest.slug for manifest in chosen()}
    return [slug for slug in built_runtimes() if slug not in left_out]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def eventually(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """What `condition` returned as soon as it is true."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


class Platform:
    """Postgres, web, worker and keeper of their own, on a node name of their own."""

    def __init__(self, folder: Path, *, roles: bool = False, **environment: str) -> None:
        """`roles`: each process uses its service's role of Postgres, as in the Compose stack."""
        self.folder = folder
        self.roles = roles
        self.node = f"test-{uuid.uuid4().hex[:12]}"
        self.postgres = EmbeddedPostgres(folder, durable=False)
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = environment

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def builds(self) -> str:
        """Where the images of its builds are named."""
        return f"sandbox-platform/build-{self.node}"

    @property
    def environment(self) -> dict[str, str]:
        return {**self._settings, "DATABASE_URL": self.postgres.url}

    @property
    def seeds(self) -> dict[str, str]:
        """Return what `bootstrap` reads, for whoever starts single processes."""
        return self._settings

    @property
    def _settings(self) -> dict[str, str]:
        ours = {
            "DJANGO_SECRET_KEY": "live-tests-only",
            "SANDBOX_NODE": self.node,
            "SANDBOX_EXECUTOR_MANAGER_API_TOKEN": TOKEN,
            "SANDBOX_EXECUTOR_MANAGER_POOL_SIZE": "1",
            "SANDBOX_LISTEN": "127.0.0.1",
            "SANDBOX_LISTEN_PORT": str(self.port),
            "ADMIN_USERNAME": "admin",
            "ADMIN_PASSWORD": "correct horse battery staple",
            "SANDBOX_WORKERS": "4",
            "SANDBOX_BUILD_CONFIG": str(self.folder / "build-config"),
            "SANDBOX_SEAL_KEY_FILE": str(self.folder / "seal" / "seal.key"),
            "SANDBOX_HEADS_FILE": str(self.folder / "heads.jsonl"),
            "SANDBOX_EGRESS_DIR": str(self.folder / "doors"),
            "SANDBOX_BUILT_RUNTIMES": ",".join(offered_runtimes()),
            # As in the image of the platform.
            "MALLOC_ARENA_MAX": "2",
            "MALLOC_MMAP_THRESHOLD_": "262144",
            **{f"SANDBOX_DATABASE_{name.upper()}_PASSWORD": ROLE_PASSWORD for name in COMMANDS},
        }
        # pytest's own variable: the platform's processes must find their settings as they do without it.
        given = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return {**given, **ours, **self._environment}

    def start(self, *runtimes: str) -> None:
        """With these runtimes only, or all of them."""
        self.postgres = database.bootstrapped(self.folder, self._settings)
        self.postgres.start()
        if runtimes:
            self.sql("UPDATE runtimes_runtime SET enabled = slug = ANY(%s)", list(runtimes))
        if self.roles:
            self.manage("grant_roles")
        for name in STARTED:
            self.spawn(name)
        self.until_ready()

    def environment_of(self, name: str) -> dict[str, str]:
        """Return the environment of a process, with the database that it may use."""
        if not self.roles:
            return self.environment
        url = f"postgresql://127.0.0.1:{self.postgres.port}/{embedded_postgres.DATABASE}"
        return {
            **self.environment,
            "DATABASE_URL": url,
            "SANDBOX_SERVICE": name,
            "DATABASE_PASSWORD": ROLE_PASSWORD,
        }

    def manage(self, *arguments: str, service: str = "") -> str:
        """Run a command as the owner of the tables, or in place of a service."""
        command = [sys.executable, "manage.py", *arguments]
        environment = self.environment_of(service) if service else self.environment
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def spawn(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *COMMANDS[name]],
                cwd=ROOT, env=self.environment_of(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """kill -9, with all its children."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def until_ready(self) -> None:
        def ready() -> bool:
            try:
                return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
            except requests.RequestException:
                return False

        eventually(ready, f"/readyz is green; logs in {self.folder}", READY_S)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for name in list(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.processes[name].wait(20)
            self.kill(name)
        self.postgres.stop()
        for container in self.containers():
            container.remove(force=True)
        if self.engine != "docker":
            with self._engine() as engine:
                for sandbox in engine.containers():
                    engine.remove(sandbox.id)
        with contextlib.closing(docker.DockerClient.from_env(environment=self.environment)) as client:
            for image in client.images.list(self.builds):
                for tag in image.tags:
                    if tag.startswith(f"{self.builds}:"):
                        client.images.remove(tag)

    @property
    def engine(self) -> str:
        return self.environment.get("SANDBOX_ENGINE") or "docker"

    @contextlib.contextmanager
    def _engine(self) -> Iterator[Engine]:
        run_folder = Path(self.environment.get("SANDBOX_RUN_DIR") or settings.SANDBOX_RUN_DIR)
        with override_settings(SANDBOX_NODE=self.node, SANDBOX_RUN_DIR=run_folder):
            yield ENGINES[self.engine]()

    def sandboxes(self) -> set[str]:
        """The ids of the sandboxes that there are on the host, whatever the database says."""
        with self._engine() as engine:
            return {container.id for container in engine.containers()}

    def kill_sandbox(self, sandbox: str) -> None:
        with self._engine() as engine:
            engine.kill(sandbox)

    def containers(self) -> list[Any]:
        """Docker's containers of this platform: builds, and with Docker's engine the sandboxes."""
        with contextlib.closing(docker.DockerClient.from_env(environment=self.environment)) as client:
            filters: Any = {"label": f"sandbox-platform={self.node}"}
            return list(client.containers.list(all=True, ignore_removed=True, filters=filters))

    def post(self, body: Any, **headers: str) -> requests.Response:
        return requests.post(
            f"{self.url}/run", json=body, headers={"Authorization": f"Bearer {TOKEN}", **headers}, timeout=120
        )

    def run(self, code: str, language: str = "python", arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer of POST /run, which must be 200."""
        encoded = base64.b64encode(code.encode()).decode()
        answer = self.post({"code_b64": encoded, "language": language, "arguments": arguments or {}})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def sql(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.postgres.url, row_factory=dict_row) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def last_execution(self) -> dict[str, Any]:
        return self.sql("SELECT * FROM executions_execution ORDER BY id DESC LIMIT 1")[0]

    def change_runtime(self, slug: str, **values: Any) -> None:
        """As an administrator would: the revision moves on, so no warm sandbox of before is used."""
        columns = ", ".join(f"{name} = %s" for name in values)
        self.sql(
            f"UPDATE runtimes_runtime SET {columns}, revision = revision + 1 WHERE slug = %s",
            *values.values(),
            slug,
        )

    def keep_one_smoke_program(self) -> None:
        """Of each runtime: a build or an inspection starts a sandbox for each."""
        self.sql("UPDATE runtimes_runtime SET smoke = jsonb_build_array(smoke -> 0) WHERE smoke <> '[]'")

    def create_profile(self, name: str, rules: dict[str, Any]) -> int:
        """With one revision, in force; its id."""
        (profile,) = self.sql(
            "INSERT INTO seccomp_profiles_seccompprofile (name, description, created_at, updated_at)"
            " VALUES (%s, '', now(), now()) RETURNING id",
            name,
        )
        self.add_revision(profile["id"], rules)
        return int(profile["id"])

    def add_revision(self, profile: int, rules: dict[str, Any]) -> str:
        """In force at once; the hash of its rules."""
        sha256 = hash_rules(rules)
        self.sql(
            "WITH revision AS (INSERT INTO seccomp_profiles_seccomprevision"
            " (profile_id, number, rules, effective, sha256, allow, deny, note, created_by, created_at)"
            " SELECT %s, count(*) + 1, %s, %s, %s, '{}', '{}', '', '', now()"
            " FROM seccomp_profiles_seccomprevision WHERE profile_id = %s RETURNING id)"
            " UPDATE seccomp_profiles_seccompprofile SET active_id = revision.id FROM revision"
            " WHERE seccomp_profiles_seccompprofile.id = %s",
            profile,
            *[json.dumps(rules)] * 2,
            sha256,
            profile,
            profile,
        )
        return sha256

    def logs(self) -> str:
        return "\n".join(f"== {p.name}\n{p.read_text(errors='replace')}" for p in self.folder.glob("*.log"))
