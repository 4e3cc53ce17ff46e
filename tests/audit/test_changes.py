import json

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.models import RuntimeEvent, TokenEvent, TrailEntry
from clients.models import Client, Token, hash_token
from runtimes.models import Runtime
from sandbox_platform.kit.actors import actor_of
from seccomp_profiles import revisions
from tests.audit.conftest import execute


def latest() -> TrailEntry:
    """The last change of a runtime: event ids rise within a table only, and one transaction has one time."""
    return TrailEntry.objects.filter(pgh_model="audit.RuntimeEvent").latest("pgh_id")


def test_change_by_orm_has_before_and_after(python_runtime: Runtime) -> None:
    python_runtime.memory_bytes = 512 * 1024**2
    python_runtime.save()
    assert latest().changes["memory_bytes"] == (256 * 1024**2, 512 * 1024**2)


def test_change_by_sql_is_recorded(python_runtime: Runtime) -> None:
    execute("UPDATE runtimes_runtime SET image = 'evil:latest'")
    assert latest().changes == {"image": ("sandbox-platform/runtime-python:latest", "evil:latest")}


def test_change_by_sql_names_the_session(python_runtime: Runtime) -> None:
    execute("SET LOCAL application_name = 'psql of mallory'")
    execute("UPDATE runtimes_runtime SET image = 'evil:latest'")
    entry = latest()
    assert entry.who == "sandbox (psql of mallory)"
    assert entry.where == "127.0.0.1"


def test_creation_is_recorded(db: None) -> None:
    revisions.create_profile("strict", {"defaultAction": "SCMP_ACT_ALLOW"})
    entry = TrailEntry.objects.get(pgh_obj_model="seccomp_profiles.SeccompProfile", pgh_label="insert")
    assert entry.what == "seccomp profile strict"
    entry = TrailEntry.objects.get(pgh_obj_model="seccomp_profiles.SeccompRevision")
    assert entry.changes["rules"] == (None, {"defaultAction": "SCMP_ACT_ALLOW"})


def test_deletion_is_recorded_with_what_was_there(db: None) -> None:
    revisions.create_profile("strict").delete()
    entry = TrailEntry.objects.get(pgh_obj_model="seccomp_profiles.SeccompProfile", pgh_label="delete")
    assert entry.changes["name"] == ("strict", None)
    entry = TrailEntry.objects.get(pgh_obj_model="seccomp_profiles.SeccompRevision", pgh_label="delete")
    assert entry.changes["number"] == (1, None)


def test_change_that_is_rolled_back_is_not_recorded(python_runtime: Runtime) -> None:
    before = RuntimeEvent.objects.count()
    with pytest.raises(RuntimeError), transaction.atomic():
        Runtime.objects.update(image="other")
        raise RuntimeError
    assert RuntimeEvent.objects.count() == before


def test_new_token_is_recorded_without_its_hash(db: None) -> None:
    _, token = Client.objects.create_with_token("one")
    kept = json.dumps(list(TokenEvent.objects.values()), default=str)
    assert hash_token(token) not in kept
    entry = TrailEntry.objects.get(pgh_obj_model="clients.Token")
    assert entry.changes["token_sha256"][1].startswith("fingerprint ")


def test_use_of_a_token_is_no_change(db: None) -> None:
    Client.objects.create_with_token("one")
    before = TokenEvent.objects.count()
    Token.objects.get().note_use()
    assert TokenEvent.objects.count() == before
    Token.objects.get().revoke()
    assert TokenEvent.objects.count() == before + 1


def test_change_with_triggers_ignored_is_refused(python_runtime: Runtime) -> None:
    execute("SET LOCAL pgtrigger.ignore = '{pgtrigger_update_update_b763e}'")
    with pytest.raises(DatabaseError, match=r"pgtrigger\.ignore is set"), transaction.atomic():
        Runtime.objects.update(image="evil:latest")
    execute("SET LOCAL pgtrigger.ignore = '{}'")


def test_change_that_would_be_recorded_elsewhere_is_refused(python_runtime: Runtime) -> None:
    execute(
        "CREATE TEMPORARY TABLE audit_runtimeevent (LIKE audit_runtimeevent INCLUDING DEFAULTS) ON COMMIT DROP"
    )
    with pytest.raises(DatabaseError, match="search path hides audit_runtimeevent"), transaction.atomic():
        Runtime.objects.update(image="evil:latest")
    execute("DROP TABLE pg_temp.audit_runtimeevent")


def test_session_cannot_be_forged_by_the_context(python_runtime: Runtime) -> None:
    execute("""SELECT set_config('pghistory.context_metadata', '{"database": {"role": "bob"}}', true)""")
    execute("UPDATE runtimes_runtime SET image = 'evil:latest'")
    execute("SELECT set_config('pghistory.context_metadata', '', true)")
    assert latest().session["role"] == "sandbox"


def test_change_in_admin_names_user_and_address(browser: Browser) -> None:
    url = reverse("admin:seccomp_profiles_seccompprofile_add")
    response = browser.post(url, {"name": "strict", "description": "", "rules": ""}, REMOTE_ADDR="192.0.2.7")
    assert response.status_code == 302
    entry = TrailEntry.objects.filter(pgh_model="audit.SeccompProfileEvent").latest("pgh_id")
    assert (entry.who, entry.where, entry.url) == ("user admin", "192.0.2.7", url)


def test_actor_of_an_api_client_is_named(db: None) -> None:
    client, _ = Client.objects.create_with_token("ragflow")
    assert actor_of(client) == "client ragflow"


def test_actor_of_a_user_is_named() -> None:
    assert actor_of(User(username="alice")) == "user alice"


def test_actor_of_nobody_is_none() -> None:
    assert actor_of(None) is None


def test_run_endpoint_carries_no_context(client: Browser, client_with_token: tuple[Client, str]) -> None:
    headers = {"Authorization": f"Bearer {client_with_token[1]}"}
    body = {"code_b64": "", "language": "python"}
    with CaptureQueriesContext(connection) as queries:
        client.post("/run", body, content_type="application/json", headers=headers)
    assert not [query for query in queries if "pghistory" in query["sql"]]
