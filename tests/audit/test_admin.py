import csv
from collections.abc import Callable
from io import StringIO

import pytest
from django.test import Client as Browser
from django.urls import reverse

from audit import sealing
from audit.models import RetentionPolicy, TrailEntry
from clients.models import Client, hash_token
from executions.models import Execution
from runtimes.models import Runtime
from seccomp_profiles import revisions

LIST = reverse("admin:audit_trailentry_changelist")


def html_of(browser: Browser, url: str, **query: str) -> str:
    response = browser.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def changed(python_runtime: Runtime) -> TrailEntry:
    python_runtime.image = "<b>other</b>"
    python_runtime.save()
    return TrailEntry.objects.get(pgh_model="audit.RuntimeEvent", pgh_label="update")


def test_trail_lists_changes(browser: Browser, changed: TrailEntry) -> None:
    html = html_of(browser, LIST)
    assert "runtime python" in html
    assert "image, revision, updated_at" in html


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"object": "runtimes.Runtime"}, 2),
        ({"object": "clients.Client"}, 0),
        ({"change": "update"}, 1),
        ({"origin": "other"}, 4),
        ({"origin": "web"}, 0),
        ({"q": "other"}, 1),
        ({"q": "nothing like it"}, 0),
        ({"range": "24h"}, 4),
        ({"o": "5"}, 4),
    ],
)
def test_trail_filters(browser: Browser, changed: TrailEntry, query: dict[str, str], count: int) -> None:
    assert browser.get(LIST, query).context["cl"].result_count == count


def test_trail_shows_before_and_after_escaped(browser: Browser, changed: TrailEntry) -> None:
    html = html_of(browser, reverse("admin:audit_trailentry_change", args=[changed.pk]))
    assert ">sandbox-platform/runtime-python:latest</pre>" in html
    assert ">&lt;b&gt;other&lt;/b&gt;</pre>" in html


def test_trail_never_shows_a_token_hash(browser: Browser) -> None:
    _, token = Client.objects.create_with_token("one")
    entry = TrailEntry.objects.order_by("-pgh_created_at").get(pgh_obj_model="clients.Token")
    html = html_of(browser, reverse("admin:audit_trailentry_change", args=[entry.pk]))
    assert "fingerprint " in html
    assert hash_token(token) not in html


@pytest.mark.parametrize("address", ["add/", "audit.RuntimeEvent:1/delete/"])
def test_trail_cannot_be_edited(browser: Browser, changed: TrailEntry, address: str) -> None:
    assert browser.get(LIST + address).status_code in (302, 403)


def test_trail_entry_that_is_not_there_is_no_error(browser: Browser) -> None:
    assert browser.get(f"{LIST}nonsense/change/").status_code == 302


def exported(browser: Browser, entry: TrailEntry) -> list[dict[str, str]]:
    response = browser.post(LIST, {"action": "export_csv", "_selected_action": [entry.pk]})
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(StringIO(response.getvalue().decode())))


def test_export_has_a_line_for_each_column(browser: Browser, changed: TrailEntry) -> None:
    lines = {line["column"]: line for line in exported(browser, changed)}
    assert lines["image"]["before"] == "sandbox-platform/runtime-python:latest"
    assert lines["image"]["after"] == "<b>other</b>"
    assert lines["image"]["database_role"] == "sandbox"


def test_export_holds_no_formula(browser: Browser) -> None:
    revisions.create_profile("x", description="=1+1")
    entry = TrailEntry.objects.get(pgh_obj_model="seccomp_profiles.SeccompProfile", pgh_label="insert")
    assert "'=1+1" in [line["after"] for line in exported(browser, entry)]


def test_seals_are_shown(browser: Browser, make_execution: Callable[..., Execution]) -> None:
    make_execution()
    (seal,) = sealing.seal()
    assert f"{seal.hash[:24]}…" in html_of(browser, reverse("admin:audit_seal_changelist"))
    shown = html_of(browser, reverse("admin:audit_seal_change", args=[seal.pk]))
    assert seal.hash in shown and seal.root in shown


def test_policy_can_be_made_in_the_admin(browser: Browser) -> None:
    url = reverse("admin:audit_retentionpolicy_add")
    assert browser.post(url, {"client": "", "keep_code_days": "0"}).status_code == 302
    assert RetentionPolicy.objects.get().keep_code_days == 0


def test_second_default_policy_is_refused_with_a_reason(browser: Browser) -> None:
    RetentionPolicy.objects.create()
    response = browser.post(reverse("admin:audit_retentionpolicy_add"), {"client": ""})
    assert response.status_code == 200
    assert RetentionPolicy.objects.count() == 1


@pytest.mark.parametrize("days", ["-1", "99999999999999999999", "x"])
def test_senseless_retention_is_refused(browser: Browser, days: str) -> None:
    response = browser.post(reverse("admin:audit_retentionpolicy_add"), {"client": "", "keep_code_days": days})
    assert response.status_code == 200
    assert not RetentionPolicy.objects.exists()


def test_pattern_that_will_not_do_is_refused(browser: Browser) -> None:
    response = browser.post(reverse("admin:redaction_redactionpattern_add"), {"name": "x", "regex": "("})
    assert "RE2" in response.content.decode()


def test_lists_open(browser: Browser, db: None) -> None:
    for model in ("purgerecord", "retentionpolicy", "seal"):
        html_of(browser, reverse(f"admin:audit_{model}_changelist"))


def test_quantities_have_their_units(browser: Browser) -> None:
    client = Client.objects.create(name="bounded", max_memory_bytes=268435456)
    Client.objects.filter(pk=client.pk).update(max_memory_bytes=335544320, max_wall_time_ms=10000)
    entry = TrailEntry.objects.filter(pgh_obj_model="clients.Client", pgh_label="update").get()
    html = html_of(browser, reverse("admin:audit_trailentry_change", args=[entry.pk]))
    assert ("256 MiB" in html, "320 MiB" in html, "10 s" in html) == (True, True, True)
    assert "268435456" not in html
