import importlib
import secrets
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import dj_database_url
import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client as Browser
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from audit.keys import KeyFile, write_new
from clients.models import Client
from console import roles
from executions.models import Execution, Outcome, Status
from executions.models.execution import OPEN
from executions.models.ids import first_id
from runtimes.models import Runtime
from sandbox_platform.kit.env import envsecret
from scripts import embedded_postgres
from tests import database, emptying, scheduling
from tests.live import Platform

# The pages of the admin, which tests look for in its registry.
importlib.import_module("sandbox_platform.urls")

Visitor = Callable[[str], Browser]
TOKEN = "the-token-of-the-test-client"

pytest_configure = scheduling.pytest_configure
pytest_collection_finish = scheduling.pytest_collection_finish
pytest_collection_modifyitems = scheduling.pytest_collection_modifyitems
pytest_terminal_summary = scheduling.pytest_terminal_summary
pytest_xdist_make_scheduler = scheduling.pytest_xdist_make_scheduler


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> Iterator[None]:
    """The first test of a process that needs a database starts one, unless DATABASE_URL names it."""
    if envsecret("DATABASE_URL"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="sandbox-platform-tests-") as folder:
        server = database.migrated(Path(folder))
        server.start()
        connection.settings_dict.update(dj_database_url.parse(server.url, conn_max_age=None))
        connection.settings_dict["TEST"]["TEMPLATE"] = embedded_postgres.DATABASE
        yield
        connection.close()
        server.stop()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Every test finds the roles of people, and empties the tables in a way of our own.

    Threads that live as long as the process (the writer of live output, the hub) hold connections, with which the
    database could not be dropped in the end.
    """
    emptying.use()
    with django_db_blocker.unblock(), transaction.atomic(), connection.cursor() as cursor:
        # Nothing of it is in the trail.
        cursor.execute("SET LOCAL session_replication_role = replica")
        roles.ensure()
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture(scope="session")
def private_key(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("session-key") / "seal.key"
    KeyFile.make(path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def settings_of_tests(settings: Settings, private_key: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    # Beside the key is the head that it signed last: a folder for each test.
    settings.SANDBOX_SEAL_KEY_FILE = str(tmp_path_factory.mktemp("seal") / "seal.key")
    write_new(Path(settings.SANDBOX_SEAL_KEY_FILE), private_key)
    settings.CALLBACK_KEY = settings.SECRET_KEY
    # Otherwise WhiteNoise warns of the folder that only the image build fills.
    settings.WHITENOISE_AUTOREFRESH = True
    # The real one takes half a second on purpose.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def database_url(db: None) -> str:
    """The test database, for a process that a test starts. Such a test needs `transactional_db`."""
    it = connection.settings_dict
    return f"postgresql://{it['USER']}:{it['PASSWORD']}@{it['HOST']}:{it['PORT']}/{it['NAME']}"


@pytest.fixture
def python_runtime(db: None) -> Runtime:
    return Runtime.objects.create(
        slug="python",
        name="Python 3.13",
        aliases=["python3"],
        image="sandbox-platform/runtime-python:latest",
        source_file="main.py",
    )


@pytest.fixture
def client_with_token(db: None) -> tuple[Client, str]:
    return Client.objects.create_with_token("ragflow", TOKEN)


@pytest.fixture
def administrator(db: None) -> User:
    return User.objects.create_superuser("admin", password="correct horse battery staple")


@pytest.fixture
def browser(client: Browser, administrator: User) -> Browser:
    """Logged in to the admin."""
    client.force_login(administrator)
    return client


@pytest.fixture
def visitor(db: None) -> Visitor:
    """A browser in which somebody of this role is logged in."""
    roles.ensure()

    def visit(role: str) -> Browser:
        user = User.objects.create_user(f"one {role}", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        browser = Browser()
        browser.force_login(user, "django.contrib.auth.backends.ModelBackend")
        return browser

    return visit


@pytest.fixture
def make_execution(python_runtime: Runtime) -> Callable[..., Execution]:
    def make(**overrides: Any) -> Execution:
        now = timezone.now()
        fields: dict[str, Any] = {
            "runtime": python_runtime,
            "endpoint": "test",
            "mode": "function",
            "code": "def main(): return 1",
            "code_sha256": "0" * 64,
            "status": Status.SUCCEEDED,
            "queued_at": now,
            "enqueued_at": now,
            "runtime_revision": python_runtime.revision,
            "limits": python_runtime.limits.as_dict(),
        } | overrides
        began = min(
            at for at in (fields["queued_at"], fields.get("finished_at", now), now) if isinstance(at, datetime)
        )
        if began < now:  # ids are in the order of time
            fields = {"id": UUID(int=first_id(began).int + secrets.randbits(74))} | fields
        if fields["status"] not in OPEN:
            fields = {"outcome": Outcome.COMPLETED, "finished_at": now} | fields
        return Execution.objects.create(**fields)

    return make


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One running platform for a process's live tests; whoever breaks it starts one of their own."""
    running = Platform(tmp_path_factory.mktemp("platform"), SANDBOX_TIMEOUT="20s")
    try:
        running.start()
        yield running
    finally:
        running.stop()
