import os
import subprocess
import sys

import psycopg
from psycopg.rows import scalar_row

from tests.live import ROOT


def migrate(url: str, *target: str) -> None:
    command = [sys.executable, "manage.py", "migrate", "-v0", *target]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, check=True)


def test_tokens_of_before_are_carried_over(transactional_db: None, database_url: str) -> None:
    name = "before_client_tokens"
    url = database_url.rpartition("/")[0] + f"/{name}"
    with psycopg.connect(database_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        try:
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
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
