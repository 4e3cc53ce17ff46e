"""Verification in the browser: a worker compares the range of seals that somebody chose."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string

from audit import queries, sealing, verifications
from audit.models import Seal, Verification
from audit.models.verifications import LOST, VerificationState
from executions.models import Execution
from runtimes.models import Runtime
from tests.audit.conftest import cut_off, problems, strip_signatures, tamper
from tests.conftest import Visitor
from tests.pages import words
from tests.tasks import queued

SEALS = reverse("admin:audit_seal_changelist")
VERIFY = reverse("admin:audit_seal_verify")
pytestmark = pytest.mark.usefixtures("history")


def begin(first: int = 1, last: int = 3) -> Verification:
    return verifications.start(first, last, by="admin", http=None)


def done(first: int = 1, last: int = 3) -> Verification:
    row = begin(first, last)
    verifications.run(row.pk)
    row.refresh_from_db()
    return row


def page(browser: Browser, row: Verification) -> str:
    return words(browser.get(reverse("admin:audit_verification_change", args=[row.pk])).content.decode())


def test_the_button_queues_the_seals_of_the_list(browser: Browser) -> None:
    assert "Verify seals 1 to 3" in words(browser.get(SEALS).content.decode())
    browser.post(VERIFY)
    row = Verification.objects.get()
    assert (row.first, row.last, row.requested_by) == (1, 3, "admin")
    assert queued()[-1] == (verifications.VERIFY, (row.pk,))
    assert import_string(verifications.VERIFY.function) is verifications.run


def test_the_filters_of_the_list_choose_the_range(browser: Browser) -> None:
    browser.post(f"{VERIFY}?q={Seal.objects.get(pk=2).hash}")
    assert Verification.objects.values_list("first", "last").get() == (2, 2)


def test_one_seal_from_its_own_page(browser: Browser) -> None:
    browser.post(f"{VERIFY}?sequence=3")
    assert Verification.objects.values_list("first", "last").get() == (3, 3)


def test_who_verifies_is_in_the_trail(browser: Browser) -> None:
    browser.post(VERIFY)
    entry = queries.trail().get(pgh_obj_model="audit.Act")
    assert (entry.who, entry.what, entry.change) == ("user admin", "seals 1 to 3", "verified")


def test_an_auditor_may(visitor: Visitor) -> None:
    assert visitor("auditor").post(VERIFY).status_code == 302
    assert Verification.objects.exists()


def test_an_operator_may_not(visitor: Visitor) -> None:
    assert visitor("operator").post(VERIFY).status_code == 403
    assert not Verification.objects.exists()


def test_untouched_history_has_no_findings(browser: Browser) -> None:
    row = done()
    assert (row.state, row.finding_count, row.reached) == (VerificationState.OK, 0, 3)
    assert row.rows == sum(Seal.objects.values_list("count", flat=True))
    assert "No findings Progress 3 of 3 seals" in page(browser, row)


def test_a_range_begins_behind_seals_that_are_not_compared(history: list[Execution]) -> None:
    tamper("UPDATE executions_execution SET code = 'x' WHERE id = %s", history[0].pk)
    assert done(2, 3).state == VerificationState.OK
    assert done(1, 1).state == VerificationState.FINDINGS


def test_changed_history_is_found(browser: Browser, history: list[Execution]) -> None:
    tamper("UPDATE executions_execution SET code = 'x' WHERE id = %s", history[1].pk)
    row = done()
    assert row.state == VerificationState.FINDINGS
    assert f"executions_execution {history[1].pk}" in row.findings[0]
    assert "changed: code" in page(browser, row)


def test_a_missing_seal_inside_the_range_is_found() -> None:
    tamper("DELETE FROM audit_seal WHERE sequence = 2")
    assert "audit_seal 2 (seal 3" in done().findings[0]


def test_a_missing_last_seal_of_the_range_is_found() -> None:
    cut_off(3)
    assert "audit_seal 3: missing" in " ".join(done().findings)


def test_it_finds_what_the_command_finds(history: list[Execution]) -> None:
    tamper("UPDATE executions_execution SET code = 'x' WHERE id = %s", history[1].pk)
    tamper("DELETE FROM executions_artifact")
    tamper("INSERT INTO audit_runtimeevent (pgh_created_at, pgh_label, id, slug, name, enabled) SELECT now(), 'x', 1,"
           " '', '', true WHERE false")  # fmt: skip
    assert sorted(done().findings) == sorted(problems())


def test_rows_after_the_newest_seal_belong_to_a_range_that_ends_there() -> None:
    Runtime.objects.update(name="new")
    tamper("DELETE FROM audit_pending")
    assert "neither sealed nor pending" in " ".join(done(3, 3).findings)
    assert done(1, 2).state == VerificationState.OK


def test_seals_without_signatures_are_found() -> None:
    strip_signatures()
    assert done().state == VerificationState.FINDINGS


def test_a_key_that_was_not_noted_is_found(settings: Any) -> None:
    settings.SANDBOX_SEAL_FINGERPRINT = ["0" * 64]
    assert "not the one that was noted" in " ".join(done().findings)


def test_one_at_a_time(browser: Browser) -> None:
    begin()
    with pytest.raises(verifications.Refused, match="under way"):
        begin(1, 1)
    assert "A verification is under way" in browser.post(VERIFY, follow=True).content.decode()
    with pytest.raises(IntegrityError, match="verification_one_open"), transaction.atomic():
        now = timezone.now()
        Verification.objects.create(first=1, last=1, requested_at=now, progress_at=now)


def test_a_range_does_not_run_backwards() -> None:
    now = timezone.now()
    with pytest.raises(IntegrityError, match="verification_range"), transaction.atomic():
        Verification.objects.create(first=2, last=1, requested_at=now, progress_at=now)


def test_a_range_is_bounded() -> None:
    with pytest.raises(verifications.Refused, match="10,000 seals at most"):
        begin(1, verifications.MOST_SEALS + 1)
    assert not Verification.objects.exists()


def test_a_queued_one_that_is_cancelled_never_starts(browser: Browser) -> None:
    row = begin()
    browser.post(reverse("admin:audit_verification_cancel", args=[row.pk]))
    verifications.run(row.pk)
    row.refresh_from_db()
    assert (row.state, row.started_at) == (VerificationState.CANCELLED, None)


def test_a_running_one_stops_after_its_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    row = begin()
    check = verifications.Chain.check

    def check_and_cancel(chain: Any, seal: Seal) -> Any:
        yield from check(chain, seal)
        verifications.cancel(row)

    monkeypatch.setattr(verifications.Chain, "check", check_and_cancel)
    verifications.run(row.pk)
    row.refresh_from_db()
    assert (row.state, row.reached) == (VerificationState.CANCELLED, 1)


def test_it_ends_at_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifications, "LONGEST", timedelta(0))
    row = done()
    assert (row.state, row.reached) == (VerificationState.STOPPED, 1)


def test_a_failure_is_shown_and_frees_the_place(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    row = begin()
    monkeypatch.setattr(verifications, "_compare", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        verifications.run(row.pk)
    assert "Failed: ZeroDivisionError" in page(browser, row)
    begin()


def test_one_whose_worker_is_gone_makes_room() -> None:
    row = begin()
    Verification.objects.update(progress_at=timezone.now() - LOST - timedelta(minutes=1))
    begin()
    row.refresh_from_db()
    assert (row.state, row.error) == (VerificationState.FAILED, "worker lost")


def test_the_findings_that_are_stored_are_bounded(
    browser: Browser, history: list[Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifications, "STORED_FINDINGS", 1)
    tamper("UPDATE executions_execution SET code = 'x'")
    row = done()
    assert (row.finding_count, len(row.findings)) == (3, 1)
    assert "and 2 more" in page(browser, row)


def test_a_seal_made_meanwhile_is_another_verification_s() -> None:
    row = begin()
    Runtime.objects.update(name="new")
    sealing.seal()
    verifications.run(row.pk)
    row.refresh_from_db()
    assert row.state == VerificationState.OK


def test_a_seal_s_page_is_a_summary(browser: Browser) -> None:
    shown = words(browser.get(reverse("admin:audit_seal_change", args=[3])).content.decode())
    assert "executions 1" in shown and "changes of runtimes 1" in shown
    assert "hash, signature and link to the seal before match" in shown


def test_a_changed_seal_says_so_on_its_page(browser: Browser) -> None:
    tamper("UPDATE audit_seal SET count = 99 WHERE sequence = 2")
    shown = words(browser.get(reverse("admin:audit_seal_change", args=[2])).content.decode())
    assert "changed: the hash does not match" in shown


def test_a_seal_is_downloaded_as_json(browser: Browser) -> None:
    content = browser.get(reverse("admin:audit_seal_json", args=[2])).json()
    seal = Seal.objects.get(pk=2)
    assert (content["hash"], content["columns"]) == (seal.hash, seal.columns)
