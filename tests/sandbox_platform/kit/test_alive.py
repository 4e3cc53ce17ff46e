import os
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
from django.conf import settings

from sandbox_platform.kit import alive, liveness
from tests.live import ROOT, eventually

HOLD: dict[str, Callable[[psycopg.Connection], None]] = {
    "worker": lambda session: liveness.hold_worker(session, settings.SANDBOX_NODE),
    "keeper": lambda session: liveness.hold_keeper(session, settings.SANDBOX_NODE),
    "callbacks": liveness.hold_callbacks,
}


@pytest.mark.parametrize("service", HOLD)
def test_service_is_alive_while_it_holds_its_lock(database_url: str, service: str) -> None:
    eventually(lambda: not alive.is_alive(service), "nobody holds the lock")
    with psycopg.connect(database_url) as session:
        HOLD[service](session)
        assert alive.is_alive(service)
    eventually(lambda: not alive.is_alive(service), "the lock is gone with its session")


def test_keeper_of_another_node_does_not_count(database_url: str) -> None:
    with psycopg.connect(database_url) as session:
        liveness.hold_keeper(session, "another-node")
        assert not alive.is_alive("keeper")


def test_command_tells_by_its_exit_status(database_url: str) -> None:
    command = [sys.executable, "-m", "sandbox_platform.kit.alive", "callbacks"]
    environment = {**os.environ, "DATABASE_URL": database_url, "DJANGO_SECRET_KEY": "tests-only"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "no callbacks holds its lock in Postgres\n")
    with psycopg.connect(database_url) as session:
        liveness.hold_callbacks(session)
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
