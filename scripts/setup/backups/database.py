"""Dump the database, and put a dump in its place, with Postgres' own programs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from scripts.setup.backups.archive import Manifest
from scripts.setup.compose import compose
from scripts.setup.host import ROOT, SetupError

# The socket's folder in the container of Postgres, where its superuser needs no password.
SOCKET = "/tmp"  # noqa: S108
ABOUT = """
SELECT json_build_object(
    'postgres', current_setting('server_version_num')::int / 10000,
    'executions', (SELECT count(*) FROM executions_execution),
    'roles', (SELECT coalesce(json_agg(DISTINCT role), '[]') FROM pg_policies, unnest(roles) AS role
        WHERE schemaname = 'public' AND role <> 'public'),
    'migrations', (SELECT json_object_agg(app, names) FROM
        (SELECT app, json_agg(name ORDER BY name) AS names FROM django_migrations GROUP BY app) applied))
"""
# Of several nodes, that of the one that started last.
VERSION = "SELECT value FROM audit_setting WHERE name = 'VERSION' ORDER BY id DESC LIMIT 1"
# What the runtimes run on: with it, images can be made again on another machine.
RUNTIMES = """
SELECT coalesce(json_agg(json_build_object('slug', slug, 'enabled', enabled, 'image', image,
    'built_image', built_image, 'built_on', built_on, 'packages', packages) ORDER BY slug), '[]')
FROM runtimes_runtime
"""


@dataclass(frozen=True)
class Server:
    """A database, and how to run Postgres' programs against it."""

    words: tuple[str, ...]  # before the name of a program, such as `docker compose exec -T postgres`
    at: str  # connection string, without the database
    database: str
    owner: str
    environment: Mapping[str, str]
    programs: str = ""  # folder of the programs, with a slash at its end

    @classmethod
    def of_the_stack(cls) -> Server:
        at = f"host={SOCKET} user=postgres"
        return cls(tuple(compose("exec", "-T", "postgres")), at, "sandbox", "sandbox", {})

    @classmethod
    def at_url(cls, url: str, password: str = "", programs: str = "") -> Server:
        """`password`: used if the URL has none."""
        parts = urlsplit(url)
        user = unquote(parts.username or "sandbox")
        host = parts.netloc.rpartition("@")[2]
        at = urlunsplit(("postgresql", f"{parts.username or 'sandbox'}@{host}", "", parts.query, ""))
        # Not on the command line, which everybody on the machine can read.
        environment = {"PGPASSWORD": unquote(parts.password or "") or password}
        return cls((), at, parts.path.lstrip("/"), user, environment, programs)

    def command(self, program: str, *options: str, database: str = "") -> list[str]:
        name = database or self.database
        if self.at.startswith("postgresql:"):
            parts = urlsplit(self.at)
            target = urlunsplit((*parts[:2], f"/{name}", *parts[3:]))
        else:
            target = f"{self.at} dbname={name}"
        return [*self.words, self.programs + program, f"--dbname={target}", *options]

    def run(
        self, command: list[str], what: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> str:
        """Run a program to its end and return its output. Raises SetupError."""
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **self.environment}, check=False,
            stdin=stdin or subprocess.DEVNULL, stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise SetupError(what, "\n".join(said[-15:]), "correct the cause, then run the same command again")
        return (done.stdout or b"").decode()

    def sql(self, *statements: str, database: str = "", what: str = "reading the database") -> str:
        """Run statements one by one, without a transaction around them."""
        options = [word for statement in statements for word in ("--command", statement)]
        quiet = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        return self.run(self.command("psql", *quiet, *options, database=database), what).strip()

    def about(self) -> dict[str, Any]:
        """Return what the manifest says of the database. `platform`: the version that runs on it; "" if unknown."""
        found = dict(json.loads(self.sql(ABOUT)))
        # The checkout may be newer already.
        has_settings = self.sql("SELECT to_regclass('audit_setting') IS NOT NULL") == "t"
        found["platform"] = self.sql(VERSION) if has_settings else ""
        return found

    def runtimes(self) -> list[dict[str, Any]]:
        return list(json.loads(self.sql(RUNTIMES)))

    def dump(self, to: Path) -> None:
        """Write one consistent state of the database, while it is in use."""
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            self.run(self.command("pg_dump", "--format=custom"), "dumping the database", stdout=file)

    def replace(self, dump: Path, manifest: Manifest) -> None:
        """Put the dump in the place of the database.

        The database of before is dropped once the dump is restored completely; until then it stays as it is. Nothing
        else may be connected.
        """
        self._refuse_older_server(manifest)
        new, old = f"{self.database}_restored", f"{self.database}_replaced"
        owner = _name(self.owner)
        self.sql(
            f"DROP DATABASE IF EXISTS {_name(new)} WITH (FORCE)",
            f"CREATE DATABASE {_name(new)} OWNER {owner}",
            database="postgres",
            what="making an empty database",
        )
        # By the owner of the tables: only who makes a role can set its password later.
        self.sql(f"SET ROLE {owner}", *map(_make_role, manifest.roles), database=new, what="roles of the services")
        # Privileges follow from the version that is started next (manage.py grant_roles).
        options = (f"--role={self.owner}", "--no-owner", "--no-privileges", "--exit-on-error")
        with dump.open("rb") as file:
            self.run(self.command("pg_restore", *options, database=new), "restoring the database", stdin=file)
        there = self.sql("SELECT datname FROM pg_database", database="postgres").splitlines()
        self.sql(
            f"DROP DATABASE IF EXISTS {_name(old)} WITH (FORCE)",
            *([f"ALTER DATABASE {_name(self.database)} RENAME TO {_name(old)}"] if self.database in there else []),
            f"ALTER DATABASE {_name(new)} RENAME TO {_name(self.database)}",
            f"DROP DATABASE IF EXISTS {_name(old)} WITH (FORCE)",
            database="postgres",
            what="putting the restored database in place",
        )

    def _refuse_older_server(self, manifest: Manifest) -> None:
        major = int(self.sql("SHOW server_version_num", database="postgres")) // 10000
        if manifest.postgres > major:
            raise SetupError(
                f"the backup is of Postgres {manifest.postgres}",
                f"the server here has version {major}, which cannot read it",
                "make build with the version of the platform that made the backup, or a newer one",
            )


def _make_role(name: str) -> str:
    # No password: the role cannot log in before `grant_roles` has given it one.
    test = f"EXISTS (SELECT FROM pg_roles WHERE rolname = {_text(name)})"
    return f"DO $make$ BEGIN IF NOT {test} THEN CREATE ROLE {_name(name)} LOGIN; END IF; END $make$"


def _name(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _text(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"
