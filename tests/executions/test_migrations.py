import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.rows import scalar_row

from seccomp_profiles.models import hash_rules
from tests.live import ROOT


def migrate(url: str, *target: str) -> None:
    command = [sys.executable, "manage.py", "migrate", "-v0", *target]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, check=True)


@contextmanager
def database(server_url: str, name: str) -> Iterator[str]:
    """The URL of a database of that name, which is empty and goes afterwards."""
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield server_url.rpartition("/")[0] + f"/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_tokens_of_before_are_carried_over(transactional_db: None, database_url: str) -> None:
    with database(database_url, "before_client_tokens") as url:
        migrate(url, "executions", "0002")
        with psycopg.connect(url) as session:
            session.execute(
                "INSERT INTO executions_client (name, token_sha256, enabled, created_at)"
                " VALUES ('ragflow', 'one', true, now()), ('dify', 'two', false, now())"
            )
        migrate(url, "executions")
        with psycopg.connect(url, row_factory=scalar_row) as session:
            found = session.execute(
                "SELECT c.name || ' ' || t.token_sha256"
                " FROM executions_token t JOIN executions_client c ON c.id = t.client_id"
            )
            assert set(found) == {"ragflow one", "dify two"}


def test_profiles_of_before_become_first_revisions(transactional_db: None, database_url: str) -> None:
    rules = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    with database(database_url, "before_revisions") as url:
        migrate(url, "seccomp_profiles", "0002")
        with psycopg.connect(url) as session:
            session.execute(
                "INSERT INTO seccomp_profiles_seccompprofile (name, description, rules, created_at, updated_at)"
                " VALUES ('free', '', NULL, now(), now()), ('quiet', '', %s, now(), now())",
                [json.dumps(rules)],
            )
        migrate(url)
        with psycopg.connect(url) as session:
            found = session.execute(
                "SELECT p.name, r.number, r.sha256, r.effective FROM seccomp_profiles_seccompprofile p"
                " JOIN seccomp_profiles_seccomprevision r ON r.id = p.active_id ORDER BY p.name"
            )
            # The hash of then: executions recorded it.
            assert list(found) == [("free", 1, hash_rules(None), None), ("quiet", 1, hash_rules(rules), rules)]
            sealed = session.execute("SELECT rules FROM audit_seccompprofileevent WHERE rules IS NOT NULL")
            assert list(sealed) == [(rules,)]
