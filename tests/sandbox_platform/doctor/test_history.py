from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from audit import sealing
from audit.models import Seal
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
