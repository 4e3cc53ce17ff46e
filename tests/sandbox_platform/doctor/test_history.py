from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from audit import keys, partitions, sealing
from audit.jobs import run_due
from audit.models import HeadDestination, Seal, SealKey
from executions.models import Execution
from executions.models.ids import first_id
from executions.parts import history_parts
from sandbox_platform.doctor import Status, history


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_seals_fresh_are_ok(db: None) -> None:
    sealing.seal()
    assert history.seals("seals").status is Status.OK


def test_seals_late_are_a_warning(db: None) -> None:
    then = timezone.now() - timedelta(hours=3)
    Seal.objects.create(sequence=1, period_to=then, count=0, columns={}, created_at=then)
    assert history.seals("seals").status is Status.WARNING


def test_seals_missing_are_a_warning(db: None) -> None:
    assert history.seals("seals").status is Status.WARNING


def test_seal_key_is_shown(db: None) -> None:
    sealing.seal()
    found = history.seal_key("seal key")
    assert found.status is Status.OK
    assert SealKey.objects.get().fingerprint in found.detail


def test_seal_keys_both_are_shown_after_a_rotation(db: None) -> None:
    sealing.seal()
    new = keys.rotate()
    assert f"in force is number 2, {new.fingerprint}" in history.seal_key("seal key").detail


def test_seal_key_not_used_yet_is_a_warning(db: None) -> None:
    assert history.seal_key("seal key").status is Status.WARNING


def test_seal_key_that_is_missing_is_told_until_it_is_back(db: None, settings: Settings) -> None:
    sealing.seal()
    path = Path(settings.SANDBOX_SEAL_KEY_FILE)
    path.rename(path.with_name("away"))
    run_due()
    found = history.seal_key("seal key")
    assert found.status is Status.BROKEN
    assert f"{path} is missing: restore the file from its copy" in found.detail
    path.with_name("away").rename(path)
    run_due()
    assert history.seal_key("seal key").status is Status.OK


def test_seals_that_were_cut_off_are_told_within_a_minute(db: None) -> None:
    sealing.seal()
    execute("SET session_replication_role = replica; DELETE FROM audit_seal")
    execute("SET session_replication_role = origin")
    run_due()
    assert "history was cut off or replaced" in history.seal_key("seal key").detail


def test_heads_that_stay_here_are_a_warning(db: None, settings: Settings) -> None:
    settings.SANDBOX_HEADS_FILE = ""
    assert history.seal_heads("seal heads").status is Status.WARNING


def test_heads_that_left_are_ok(db: None, settings: Settings, tmp_path: Path) -> None:
    settings.SANDBOX_HEADS_FILE = str(tmp_path / "heads.jsonl")
    run_due()
    assert history.seal_heads("seal heads").status is Status.OK


def test_heads_that_fail_to_leave_are_a_warning(db: None, settings: Settings, tmp_path: Path) -> None:
    settings.SANDBOX_HEADS_FILE = str(tmp_path / "missing" / "heads.jsonl")
    run_due()
    found = history.seal_heads("seal heads")
    assert (found.status, "1 failed attempts" in found.detail) == (Status.WARNING, True)


def test_heads_that_nobody_sends_are_a_warning(
    db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_HEADS_MAIL = ["auditor@example.com"]
    run_due()
    assert history.seal_heads("seal heads").status is Status.OK
    now = timezone.now() + timedelta(minutes=20)
    monkeypatch.setattr(timezone, "now", lambda: now)
    assert "seal 1 has not left by mail" in history.seal_heads("seal heads").detail


def test_a_head_of_a_seal_that_does_not_exist_is_found(db: None, settings: Settings) -> None:
    settings.SANDBOX_HEADS_MAIL = ["auditor@example.com"]
    run_due()
    HeadDestination.objects.update(delivered=1000)
    assert history.seal_heads("seal heads").status is Status.BROKEN


@pytest.fixture
def all_on(db: None) -> None:
    # The test session has some off, for its own cleaning up.
    execute("""
        DO $$ DECLARE t regclass; BEGIN
        FOR t IN SELECT tgrelid FROM pg_trigger WHERE tgname = 'audit_no_truncate' LOOP
            EXECUTE format('ALTER TABLE %s ENABLE TRIGGER audit_no_truncate', t);
        END LOOP; END $$
    """)


def test_guards_all_on_are_ok(all_on: None) -> None:
    assert history.guards("guards").status is Status.OK


def test_guard_switched_off_is_named(all_on: None) -> None:
    execute("ALTER TABLE executions_execution DISABLE TRIGGER audit_guard")
    found = history.guards("guards")
    assert found.status is Status.BROKEN
    assert "executions_execution.audit_guard" in found.detail


def test_months_are_none_in_a_history_that_is_one_table(db: None) -> None:
    found = history.months("months")
    assert (found.status, found.detail) == (Status.OK, "the history is one table")


def test_months_lack_the_next_one(db: None, make_execution: Callable[..., Execution]) -> None:
    partitions.convert(lambda step: None)
    assert history.months("months").status is Status.OK
    for part in history_parts():
        if part.low:
            execute(f"DROP TABLE {part.name}")
    # What is left ends with this month or, on its last days, with the next one.
    execute("ALTER TABLE executions_execution DETACH PARTITION executions_execution_before")
    found = history.months("months")
    assert (found.status, "there is no partition for" in found.detail) == (Status.BROKEN, True)


def test_months_with_an_execution_beyond_the_last_are_a_warning(
    db: None, make_execution: Callable[..., Execution]
) -> None:
    partitions.convert(lambda step: None)
    make_execution(id=first_id(timezone.now() + timedelta(days=4000)))
    assert "beyond the last partition" in history.months("months").detail
