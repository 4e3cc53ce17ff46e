"""What is backed up and restored: an installation's database, its settings and what is in the keeper's volumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Protocol

from scripts.setup import envfile, images, secret_files, stack
from scripts.setup.backups.database import Server
from scripts.setup.compose import compose
from scripts.setup.docker import docker
from scripts.setup.host import ROOT, SetupError, run
from scripts.setup.hosts import authority
from scripts.setup.provision import provide

SEAL_KEY = "/var/lib/sandbox-platform/seal/seal.key"
HEADS = "/var/lib/sandbox-platform/heads/heads.jsonl"
# The platform image's user, who owns the folders of key and heads.
KEEPER_USER = "platform"


class Installation(Protocol):
    """An installation in the state that `make` left it in, or that is still to be made."""

    root: Path  # folder of .env and .secrets

    def server(self) -> Server:
        """Return the database's server. Raises SetupError if it is not up."""

    def seal_key(self) -> str:
        """Return the path of the key of seals, as `shell` sees it; empty if this installation does not seal."""

    def heads(self) -> str:
        """Return the path of the file of heads, as `shell` sees it; empty if there is none."""

    def shell(self, script: str, *arguments: str) -> list[str]:
        """Return the command that runs a shell script as the keeper, whether the services run or not."""

    def manage(self, service: str, *words: str) -> tuple[int, str]:
        """Run a command of manage.py in a running service. Return exit status and output."""

    def images(self) -> list[dict[str, Any]]:
        """Return the platform's images on this machine: names, id, hash of what they were built from."""

    def has_image(self, reference: str) -> bool:
        """Return whether an image, by name or id, is on this machine."""

    def is_present(self) -> bool:
        """Return whether there is something that a restore would replace."""

    def prepare(self) -> None:
        """Install and build what is missing, with the settings that are there."""

    def start_database(self) -> None:
        """Stop all services but Postgres."""

    def start(self) -> None:
        """Migrate the database, give the services their roles, and start them."""


class Stack:
    """The Compose stack of this checkout."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    def server(self) -> Server:
        settings = envfile.settings()
        if not (url := settings.get("DATABASE_URL", "")):
            return Server.of_the_stack()
        # Postgres' programs of this machine reach it; those in the stack's container have no way out.
        for program in ("pg_dump", "pg_restore", "psql"):
            if shutil.which(program) is None:
                raise SetupError(
                    f"{program} for the database of DATABASE_URL",
                    "it is not installed on this machine",
                    "apt install postgresql-client, in the server's version or a newer one",
                )
        return Server.at_url(url, settings.get("POSTGRES_PASSWORD", ""))

    def seal_key(self) -> str:
        return envfile.settings().get("SANDBOX_SEAL_KEY_FILE", SEAL_KEY)

    def heads(self) -> str:
        return envfile.settings().get("SANDBOX_HEADS_FILE", HEADS)

    def shell(self, script: str, *arguments: str) -> list[str]:
        words = ("run", "--rm", "--no-deps", "-T", "--user", KEEPER_USER, "keeper", "sh", "-euc", script, "sh")
        return compose(*words, *arguments)

    def manage(self, service: str, *words: str) -> tuple[int, str]:
        done = run(compose("exec", "-T", service, "python3", "manage.py", *words), timeout=3600)
        return done.returncode, (done.stdout + done.stderr).strip()

    def images(self) -> list[dict[str, Any]]:
        listed = docker("image", "ls", "--quiet", "--filter", "reference=sandbox-platform/*")
        if not (ids := list(dict.fromkeys(listed.stdout.split()))):
            return []
        found = json.loads(docker("image", "inspect", *ids).stdout or "[]")
        return [
            {
                "names": image["RepoTags"],
                "id": image["Id"],
                "content": (image["Config"].get("Labels") or {}).get(images.CONTENT_LABEL, ""),
            }
            for image in found
        ]

    def has_image(self, reference: str) -> bool:
        return docker("image", "inspect", reference).returncode == 0

    def is_present(self) -> bool:
        if envfile.ENV.exists():
            return True
        try:
            filters = (f"label={stack.LABEL}", "label=com.docker.compose.volume=postgres")
            return bool(stack.ids("volume", *filters))
        except SetupError:
            return False  # no Docker yet

    def prepare(self) -> None:
        provide(envfile.ensure, images.ensure_all)

    def start_database(self) -> None:
        stack.stop()
        if not envfile.settings().get("DATABASE_URL"):
            stack.start_postgres()

    def start(self) -> None:
        stack.start()


def secret_paths(root: Path) -> list[Path]:
    """Return the files of secrets that .env does not hold.

    A host that has joined another one has the certificate of that one's authority, which follows from .env, and no key.
    """
    folder = root / secret_files.FOLDER.name
    pair = (authority.CA, authority.CA_KEY) if (folder / authority.CA_KEY).exists() else ()
    return [folder / name for name in (*secret_files.SHARED, *pair)]
