import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from rest_framework.test import APIClient

from clients.models import Client, Role
from executions.models import Execution
from inspections.models import Inspection
from runtimes.code_policy import child
from runtimes.models import Runtime
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompProfile
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API

URL = f"{API}/seccomp-inspections"
DENY = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}]}
PROPOSAL = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}


@pytest.fixture
def profile(db: None) -> SeccompProfile:
    return revisions.create_profile("tried", DENY)


def with_role(role: Role) -> APIClient:
    client, token = Client.objects.create_with_token(str(role))
    Client.objects.filter(pk=client.pk).update(role=role)
    return ConformingClient(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def boss(api: APIClient) -> APIClient:
    return with_role(Role.ADMINISTRATOR)


def post(caller: APIClient, url: str, **body: Any) -> Any:
    return caller.post(url, json.dumps(body), content_type="application/json")


def test_a_probe_is_queued_with_its_task(boss: APIClient, profile: SeccompProfile) -> None:
    answer = post(boss, URL, kind="probe", runtime="python", profile="tried")
    assert answer.status_code == 202, answer.content
    inspection = Inspection.objects.get()
    assert (inspection.revision, inspection.requested_by) == (profile.current, "client administrator")
    assert OrmQ.objects.count() == 1
    assert boss.get(answer["Location"]).json()["state"] == "queued"


def test_a_probe_that_waits_is_not_asked_for_twice(boss: APIClient, profile: SeccompProfile) -> None:
    first = post(boss, URL, kind="probe", runtime="python", profile="tried").json()
    assert post(boss, URL, kind="probe", runtime="python", profile="tried").json()["id"] == first["id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "probe", "runtime": "python"}, "profile"),
        ({"kind": "probe", "runtime": "cobol", "profile": "tried"}, "runtime"),
        ({"kind": "probe", "runtime": "python", "profile": "none"}, "profile"),
        ({"kind": "probe", "runtime": "python", "profile": "tried", "revision": 7}, "revision"),
        ({"kind": "trace", "runtime": "python"}, "kind"),
        ({"kind": "replay", "runtime": "python", "profile": "tried", "last": 101}, "last"),
        ({"kind": "learn", "runtime": "python", "execution": "0" * 32}, "execution"),
        ({"kind": "learn", "runtime": "python", "programs": [{"name": "a", "code": "\0"}]}, "programs[0].code"),
    ],
)
def test_a_wrong_field_is_named(boss: APIClient, profile: SeccompProfile, body: Any, field: str) -> None:
    answer = post(boss, URL, **body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "", "a\nb"])
def test_a_program_s_file_lies_in_the_workspace(boss: APIClient, path: str) -> None:
    program = {"name": "a", "code": "print(1)", "files": {path: "text"}}
    answer = post(boss, URL, kind="learn", runtime="python", programs=[program])
    assert (answer.status_code, answer.json()["field"]) == (422, "programs[0].files")


def test_a_program_s_file_may_lie_in_a_folder(boss: APIClient) -> None:
    program = {"name": "a", "code": "print(1)", "files": {"data/in.csv": "1,2"}}
    assert post(boss, URL, kind="learn", runtime="python", programs=[program]).status_code == 202


def test_an_auditor_reads_and_does_not_ask(api: APIClient, profile: SeccompProfile) -> None:
    auditor = with_role(Role.AUDITOR)
    Inspection.objects.create(kind="probe", revision=profile.current)
    assert len(auditor.get(URL).json()) == 1
    assert post(auditor, URL, kind="probe", runtime="python", profile="tried").status_code == 403


def test_others_see_nothing(api: APIClient, profile: SeccompProfile) -> None:
    assert api.get(URL).status_code == 403


def test_programs_that_wait_are_not_shown(boss: APIClient) -> None:
    program = {"name": "mine", "code": "print('secret')"}
    answer = post(boss, URL, kind="learn", runtime="python", programs=[program])
    assert answer.json()["details"] == {"request": {"programs": ["mine"]}}


def test_cancelling_twice_is_a_conflict(boss: APIClient) -> None:
    inspection = Inspection.objects.create(kind="learn")
    assert post(boss, f"{URL}/{inspection.pk}/cancel").json()["state"] == "cancelled"
    assert post(boss, f"{URL}/{inspection.pk}/cancel").status_code == 409


def learnt() -> Inspection:
    details = {"proposal": PROPOSAL, "summary": ""}
    return Inspection.objects.create(kind="learn", state="done", finished_at=timezone.now(), details=details)


def test_what_was_learnt_becomes_a_draft(boss: APIClient, profile: SeccompProfile) -> None:
    answer = post(boss, f"{URL}/{learnt().pk}/save", profile="tried")
    assert (answer.status_code, answer.json()) == (201, {"profile": "tried", "revision": 2})
    profile.refresh_from_db()
    assert profile.current.number == 1


def test_what_was_learnt_becomes_a_profile(boss: APIClient) -> None:
    post(boss, f"{URL}/{learnt().pk}/save", profile="new")
    assert SeccompProfile.objects.get(name="new").rules == PROPOSAL


def test_what_has_learnt_nothing_is_not_saved(boss: APIClient) -> None:
    inspection = Inspection.objects.create(kind="learn")
    assert post(boss, f"{URL}/{inspection.pk}/save", profile="new").status_code == 409


@pytest.fixture
def ran(mine: Callable[..., Execution]) -> Execution:
    code = "print(1)"
    sha256 = hashlib.sha256(code.encode()).hexdigest()
    return mine(code=code, code_sha256=sha256, image_id="sha256:1", profile_name="tried")


def explain(caller: APIClient, execution: Execution) -> Any:
    return post(caller, f"{API}/executions/{execution.pk}/explain-syscalls")


def change(client: Client, **fields: Any) -> None:
    Client.objects.filter(pk=client.pk).update(**fields)


def test_a_client_may_have_its_execution_explained(api: APIClient, ran: Execution) -> None:
    answer = explain(api, ran)
    assert answer.status_code == 202, answer.content
    Inspection.objects.update(details={"summary": "told", "refused": [{"name": "mkdir", "times": 1}]})
    refused = api.get(answer["Location"]).json()["refused_calls"]
    assert refused["refused"] == [{"name": "mkdir", "times": 1}]


def test_a_strangers_execution_is_not_there(stranger: APIClient, mine: Callable[..., Execution]) -> None:
    assert post(stranger, f"{API}/executions/{mine().pk}/explain-syscalls").status_code == 404


def test_what_never_ran_cannot_be_explained(api: APIClient, mine: Callable[..., Execution]) -> None:
    assert post(api, f"{API}/executions/{mine(image_id='').pk}/explain-syscalls").status_code == 409


def test_a_trace_of_a_runtime_that_the_client_may_not_use_is_refused(
    api: APIClient, client_row: Client, ran: Execution
) -> None:
    change(client_row, allowed_runtimes=["nodejs"])
    answer = explain(api, ran)
    assert (answer.status_code, answer.json()["field"]) == (403, "runtime")


@pytest.mark.parametrize("quota", ["max_runs_per_minute", "max_runs_per_day"])
def test_a_trace_counts_as_a_run(
    api: APIClient, client_row: Client, ran: Execution, submit: Callable[..., Any], quota: str
) -> None:
    change(client_row, **{quota: 1})
    assert explain(api, ran).status_code == 202
    assert submit().status_code == 429


def test_a_trace_of_a_large_program_may_have_to_wait_for_its_check(
    api: APIClient, mine: Callable[..., Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    Runtime.objects.update(code_policy="block")
    code = "#" * 100_000
    sha256 = hashlib.sha256(code.encode()).hexdigest()
    ran = mine(code=code, code_sha256=sha256, image_id="sha256:1", profile_name="tried")
    monkeypatch.setattr(child, "_queue", threading.BoundedSemaphore(1))
    child._queue.acquire()
    answer = explain(api, ran)
    assert (answer.status_code, answer.json()["type"][-11:]) == (429, "policy_busy")


def test_a_trace_over_a_quota_is_refused(
    api: APIClient, client_row: Client, ran: Execution, submit: Callable[..., Any]
) -> None:
    change(client_row, max_runs_per_day=1)
    assert submit().status_code == 202
    assert explain(api, ran).status_code == 429
    assert not Inspection.objects.exists()


def test_open_traces_are_open_executions(
    api: APIClient, client_row: Client, ran: Execution, submit: Callable[..., Any]
) -> None:
    change(client_row, max_open_executions=1)
    assert explain(api, ran).status_code == 202
    assert submit().status_code == 429


def test_a_trace_above_a_cap_of_today_is_refused(api: APIClient, client_row: Client, ran: Execution) -> None:
    change(client_row, max_wall_time_ms=100)
    assert explain(api, ran).status_code == 422


def test_a_trace_on_a_disabled_runtime_is_refused(api: APIClient, ran: Execution) -> None:
    ran.runtime.enabled = False
    ran.runtime.save()
    assert explain(api, ran).status_code == 409


def test_programs_to_learn_from_count(boss: APIClient) -> None:
    Client.objects.filter(name="administrator").update(max_runs_per_day=3)
    programs = [{"name": name, "code": "print(1)"} for name in ("a", "b")]
    assert post(boss, URL, kind="learn", runtime="python", programs=programs).status_code == 202
    assert post(boss, URL, kind="learn", runtime="python", programs=programs).status_code == 429


@pytest.mark.parametrize("kind", ["probe", "replay", "learn"])
def test_no_inspection_of_a_runtime_that_the_client_may_not_use(
    boss: APIClient, profile: SeccompProfile, kind: str
) -> None:
    Client.objects.filter(name="administrator").update(allowed_runtimes=["nodejs"])
    assert post(boss, URL, kind=kind, runtime="python", profile="tried").status_code == 403
