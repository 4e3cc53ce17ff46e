"""The trail has what changed in a node's settings between two starts."""

from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from audit import queries, starts
from audit.models import Setting, TrailEntry
from sandbox_platform import bootstrap

TABLES = ("audit_setting", "audit_settingevent")
pytestmark = pytest.mark.django_db


def start(**environment: str) -> list[str]:
    return list(starts.record_start(environment))


def entries(name: str) -> list[TrailEntry]:
    mine = queries.trail().filter(pgh_obj_model="audit.Setting", pgh_data__name=name)
    return list(mine.order_by("pgh_id"))


def test_a_changed_setting_has_its_old_and_new_value() -> None:
    start(SANDBOX_WORKERS="8")
    assert start(SANDBOX_WORKERS="16") == ["setting SANDBOX_WORKERS: changed"]
    _, changed = entries("SANDBOX_WORKERS")
    assert (changed.what, changed.change) == ("setting SANDBOX_WORKERS", "changed")
    assert changed.changes == {"value": ("8", "16")}


def test_a_start_without_changes_leaves_no_entry() -> None:
    start(SANDBOX_WORKERS="8", ADMIN_PASSWORD="secret")
    before = queries.trail().filter(pgh_obj_model="audit.Setting").count()
    assert start(SANDBOX_WORKERS="8", ADMIN_PASSWORD="secret") == []
    assert queries.trail().filter(pgh_obj_model="audit.Setting").count() == before


def test_a_removed_setting() -> None:
    start(SANDBOX_WORKERS="8")
    assert start(SANDBOX_WORKERS="") == ["setting SANDBOX_WORKERS: removed"]
    assert entries("SANDBOX_WORKERS")[-1].change == "deleted"


def test_another_version_of_the_platform(settings: Settings) -> None:
    start()
    settings.VERSION = "99.0"
    start()
    assert entries("VERSION")[-1].changes["value"][1] == "99.0"


def test_the_settings_of_other_nodes_stay(settings: Settings) -> None:
    start(SANDBOX_WORKERS="8")
    settings.SANDBOX_NODE = "other"
    assert start() == []
    assert Setting.objects.filter(name="SANDBOX_WORKERS").count() == 1


def test_nothing_but_settings_of_the_platform_is_read() -> None:
    start(PATH="/bin", HOME="/root", SANDBOX_WORKERS="8")
    assert set(Setting.objects.values_list("name", flat=True)) == {"SANDBOX_WORKERS", "VERSION"}


@pytest.mark.parametrize(
    "name", ["ADMIN_PASSWORD", "DJANGO_SECRET_KEY", "DATABASE_URL", "SANDBOX_HEADS_WEBHOOK",
             "SANDBOX_EXECUTOR_MANAGER_API_TOKEN", "SANDBOX_CALLBACK_KEY"],
)  # fmt: skip
def test_of_a_secret_only_the_change_shows(name: str) -> None:
    start(**{name: "the-old-secret"})
    start(**{name: "the-new-secret"})
    _, changed = entries(name)
    (old, new) = changed.changes["secret_hash"]
    assert old != new and old.startswith("fingerprint ")
    assert "secret" not in everything_stored()


def everything_stored() -> str:
    with connection.cursor() as cursor:
        parts = [f"SELECT value || coalesce(secret_hash, '') FROM {table}" for table in TABLES]
        cursor.execute(" UNION ALL ".join(parts))
        return " ".join(text for (text,) in cursor.fetchall())


def test_the_hash_of_a_secret_is_salted() -> None:
    start(ADMIN_PASSWORD="same", SANDBOX_CALLBACK_KEY="same")
    assert len(set(Setting.objects.exclude(secret_hash=None).values_list("secret_hash", flat=True))) == 2


def test_a_mounted_secret_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "MOUNTED", f"{tmp_path}/")
    (tmp_path / "admin").write_text("secret\n")
    start(ADMIN_PASSWORD_FILE=f"{tmp_path}/admin")
    (tmp_path / "admin").write_text("other\n")
    assert start(ADMIN_PASSWORD_FILE=f"{tmp_path}/admin") == ["setting ADMIN_PASSWORD: changed"]


def test_every_start_records_them(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("SANDBOX_WORKERS", "7")
    list(bootstrap.ensure_all())
    assert Setting.objects.get(name="SANDBOX_WORKERS", node=settings.SANDBOX_NODE).value == "7"
