"""An installation of plain processes with a Postgres of its own, for what `make` does with the stack."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts import embedded_postgres
from scripts.embedded_postgres import EmbeddedPostgres
from scripts.setup import envfile
from scripts.setup.backups.database import Server
from tests import database
from tests.live import ROOT

SETTINGS = {
    "ADMIN_USERNAME": "admin",
    "ADMIN_PASSWORD": "correct horse battery staple",
    "DJANGO_SECRET_KEY": "backup-tests-only",
    "SANDBOX_CALLBACK_KEY": "callbacks-of-backup-tests",
    "SANDBOX_EXECUTOR_MANAGER_API_TOKEN": "token-of-backup-tests-0123456789",
    "SANDBOX_NODE": "backup-test",
    **{f"SANDBOX_DATABASE_{name}_PASSWORD": f"of-{name.lower()}" for name in envfile.SERVICES},
}
START = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("grant_roles")
call_command("bootstrap")
"""
# Embedded Postgres' programs are those of the tests' server.
PROGRAMS = f"{embedded_postgres._binary('psql').parent}/"


class Plain:
    """`root` has all of it: .env, .secrets, the key of seals, the heads, and the database."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.postgres = EmbeddedPostgres(root / "postgres", durable=False)

    def make(self) -> None:
        """A new installation, as of `make`."""
        (self.root / ".env").write_text("".join(f"{name}={value}\n" for name, value in SETTINGS.items()))
        (self.root / ".secrets").mkdir()
        (self.root / ".secrets" / "egress").write_text("secret of gateway and proxy")
        self.postgres = database.bootstrapped(self.root / "postgres", SETTINGS)
        self.postgres.start()
        self.prepare()

    def environment(self, service: str = "") -> dict[str, str]:
        settings = envfile.parse((self.root / ".env").read_text())
        found = {
            **os.environ, **settings, "DATABASE_URL": self.postgres.url,
            "SANDBOX_SEAL_KEY_FILE": self.seal_key(), "SANDBOX_HEADS_FILE": self.heads(),
        }  # fmt: skip
        if service:
            url = f"postgresql://127.0.0.1:{self.postgres.port}/{embedded_postgres.DATABASE}"
            password = settings[f"SANDBOX_DATABASE_{service.upper()}_PASSWORD"]
            found |= {"DATABASE_URL": url, "SANDBOX_SERVICE": service, "DATABASE_PASSWORD": password}
        return found

    def python(self, script: str) -> str:
        """What a script prints, as the owner of the tables."""
        status, said = self.manage("", "shell", "-v0", "-c", script)
        assert status == 0, said
        return said

    def get(self, path: str, *tokens: str) -> list[tuple[int, dict[str, Any]]]:
        """Status and JSON that the web service, with its role of the database, answers each of these tokens."""
        script = "import json; from django.test import Client\n"
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            script += f"answer = Client().get({path!r}, headers={headers!r}, HTTP_HOST='localhost')\n"
            script += "print(json.dumps([answer.status_code, answer.json()]))\n"
        status, said = self.manage("web", "shell", "-v0", "-c", script)
        assert status == 0, said
        return [tuple(json.loads(line)) for line in said.splitlines() if line.startswith("[")]

    # --- scripts.setup.backups.installation.Installation ---

    def server(self) -> Server:
        return Server.at_url(self.postgres.url, programs=PROGRAMS)

    def seal_key(self) -> str:
        return str(self.root / "seal" / "seal.key")

    def heads(self) -> str:
        return str(self.root / "heads.jsonl")

    def shell(self, script: str, *arguments: str) -> list[str]:
        return ["sh", "-euc", script, "sh", *arguments]

    def manage(self, service: str, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=self.environment(service), capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, (done.stdout + done.stderr).strip()

    def images(self) -> list[dict[str, Any]]:
        return [{"names": ["sandbox-platform/runtime-python:latest"], "id": "sha256:1", "content": "abc"}]

    def has_image(self, reference: str) -> bool:
        return reference == "sandbox-platform/runtime-python:latest"

    def is_present(self) -> bool:
        return (self.root / ".env").exists()

    def prepare(self) -> None:
        Path(self.seal_key()).parent.mkdir(mode=0o700, exist_ok=True)

    def start_database(self) -> None:
        if self.postgres.process is None:
            self.postgres.start()

    def start(self) -> None:
        self.python(START)
