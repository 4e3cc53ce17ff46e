import os
import subprocess
import sys

import pytest

# In a process of its own: the configuration sets the size of the database's pool, which is the web's alone.
FREEZES = """
import gc, sys, django
django.setup()
from sandbox_platform.gunicorn import post_worker_init
post_worker_init(None)
urls = sys.modules["sandbox_platform.urls"]
assert not any(collected is urls for collected in gc.get_objects())
"""


def test_what_is_loaded_before_the_first_request_is_not_collected_again() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings"}
    subprocess.run([sys.executable, "-c", FREEZES], env=environment, check=True)


# `make dev` starts without --preload, because its processes have to load changed code.
PRELOADS = """
import sys, django
from types import SimpleNamespace
django.setup()
from sandbox_platform.gunicorn import when_ready
when_ready(SimpleNamespace(cfg=SimpleNamespace(preload_app=False)))
assert "sandbox_platform.urls" not in sys.modules
when_ready(SimpleNamespace(cfg=SimpleNamespace(preload_app=True)))
assert "sandbox_platform.urls" in sys.modules
"""


def test_what_the_processes_share_is_loaded_before_they_are_forked() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings"}
    subprocess.run([sys.executable, "-c", PRELOADS], env=environment, check=True)


STATEMENT = """
import django
django.setup()
from django.db import connection
with connection.cursor() as cursor:
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        cursor.execute("SELECT current_setting(%s)", [name])
        print(cursor.fetchone()[0])
    cursor.execute("SELECT pg_sleep(1.5)")
"""


def run_statement(database_url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings", "DATABASE_URL": database_url}
    return subprocess.run(
        [sys.executable, "-c", STATEMENT],
        env={**os.environ, **ours, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.django_db(transaction=True)
def test_a_statement_of_the_web_that_takes_too_long_is_cancelled(database_url: str) -> None:
    done = run_statement(database_url, SANDBOX_WEB_DB_POOL="2", SANDBOX_WEB_STATEMENT_TIMEOUT="500ms")
    assert done.stdout.split() == ["500ms", "1min"]
    assert "canceling statement due to statement timeout" in done.stderr


@pytest.mark.django_db(transaction=True)
def test_other_processes_take_their_time(database_url: str) -> None:
    done = run_statement(database_url, SANDBOX_WEB_STATEMENT_TIMEOUT="500ms")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "0"]), done.stderr
