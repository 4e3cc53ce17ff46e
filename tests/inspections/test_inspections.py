from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone
from django_q.models import OrmQ

from executions import readiness
from inspections import services as inspections
from inspections import studies, tasks
from inspections.models import Inspection, InspectionKind, InspectionState
from runtimes.models import Runtime
from sandboxes.engine import EngineError
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompProfile
from tests.inspections.conftest import denying
from tests.sandboxes.stub_engine import StubEngine


class Engine(StubEngine):
    runsc = "20240729"

    def version(self) -> str:
        return self.runsc


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def used(python_runtime: Runtime) -> SeccompProfile:
    profile = revisions.create_profile("used", denying("ptrace"))
    python_runtime.seccomp_profile = profile
    python_runtime.save()
    return profile


def probe_of(profile: SeccompProfile, runtime: Runtime, engine: Engine, **fields: Any) -> Inspection:
    done = {
        "state": InspectionState.DONE,
        "verdict": "enforced",
        "finished_at": timezone.now(),
        "node": inspections.settings.SANDBOX_NODE,
        "runsc_version": engine.version(),
        "image_id": engine.image_id(runtime.image),
        "runtime_revision": runtime.revision,
    }
    return Inspection.objects.create(kind="probe", revision=profile.current, runtime=runtime, **done | fields)


def due(engine: Engine) -> list[str]:
    return [f"{revision} {runtime}" for revision, runtime in inspections.due(engine)]


def test_what_is_in_use_and_was_never_probed_is_due(used: SeccompProfile, engine: Engine) -> None:
    assert due(engine) == ["used 1 python"]


def test_what_was_probed_lately_is_not_due(used: SeccompProfile, python_runtime: Runtime, engine: Engine) -> None:
    probe_of(used, python_runtime, engine)
    assert due(engine) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"finished_at": timezone.now() - timedelta(minutes=61)},
        {"runsc_version": "older"},
        {"image_id": "another"},
        {"runtime_revision": 0},
        {"node": "another"},
    ],
)
def test_a_probe_of_something_else_is_none(
    used: SeccompProfile, python_runtime: Runtime, engine: Engine, changed: dict[str, Any]
) -> None:
    probe_of(used, python_runtime, engine, **changed)
    assert due(engine) == ["used 1 python"]


def test_what_waits_to_be_probed_is_not_due(used: SeccompProfile, engine: Engine) -> None:
    inspections.tend(engine)
    inspections.tend(engine)
    assert Inspection.objects.count() == 1


def test_keepers_see_to_the_task_of_what_waits(used: SeccompProfile, engine: Engine) -> None:
    inspections.tend(engine)
    OrmQ.objects.all().delete()
    inspections.tend(engine)
    assert OrmQ.objects.count() == 1


def test_what_a_dead_worker_made_is_given_up(used: SeccompProfile, engine: Engine) -> None:
    lost = Inspection.objects.create(kind="learn", state="running", node=inspections.settings.SANDBOX_NODE)
    inspections.tend(engine)
    lost.refresh_from_db()
    assert lost.state == "failed"


def test_old_probes_of_the_schedule_are_forgotten(
    used: SeccompProfile, python_runtime: Runtime, engine: Engine
) -> None:
    old = timezone.now() - inspections.KEPT - timedelta(days=1)
    probe_of(used, python_runtime, engine, finished_at=old, requested_by="schedule")
    asked = probe_of(used, python_runtime, engine, finished_at=old, requested_by="admin")
    inspections.delete_old()
    assert list(Inspection.objects.all()) == [asked]


def test_readiness_is_red_while_the_newest_probe_says_not_enforced(
    used: SeccompProfile, python_runtime: Runtime, engine: Engine
) -> None:
    message = "The seccomp profile used 1 is not enforced for python."
    probe_of(used, python_runtime, engine, verdict="not_enforced")
    assert message in readiness.state()[1]
    probe_of(used, python_runtime, engine)
    assert message not in readiness.state()[1]


def test_a_profile_that_nobody_uses_makes_nothing_red(python_runtime: Runtime, engine: Engine) -> None:
    idle = revisions.create_profile("idle", denying("ptrace"))
    probe_of(idle, python_runtime, engine, verdict="not_enforced")
    assert inspections.newest_probes_in_use("not_enforced") == []


def test_the_oldest_comes_first_and_only_of_this_node(db: None) -> None:
    Inspection.objects.create(kind="learn", node="another")
    first = Inspection.objects.create(kind="learn")
    Inspection.objects.create(kind="learn")
    assert tasks.take() == first


def made(inspection: Inspection) -> Inspection:
    taken = tasks.take()
    assert taken == inspection
    tasks.make(Engine(), taken)
    inspection.refresh_from_db()
    return inspection


def test_a_fault_of_the_engine_is_told(db: None, monkeypatch: pytest.MonkeyPatch, python_runtime: Runtime) -> None:
    def away(*_: Any) -> Any:
        raise EngineError("Docker is away")

    monkeypatch.setitem(studies.STUDIES, InspectionKind.LEARN, away)
    inspection = made(inspections.request("learn", runtime=python_runtime, programs=[{"name": "a", "code": "x"}]))
    assert (inspection.state, inspection.verdict) == ("failed", "error")
    assert inspection.details == {"summary": "Docker is away", "request": {"programs": ["a"]}}


def test_a_cancelled_one_stays_cancelled(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    inspection = inspections.request("learn")

    def cancelled_meanwhile(*_: Any) -> Any:
        inspections.cancel(inspection)
        return "", {"summary": "done"}

    monkeypatch.setitem(studies.STUDIES, InspectionKind.LEARN, cancelled_meanwhile)
    assert made(inspection).state == "cancelled"


def test_the_lock_is_given_back(db: None) -> None:
    with inspections.inspection_lock() as mine:
        assert mine
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert cursor.fetchone() == (0,)


# -- The admin ------------------------------------------------------------------------------------------


def test_the_pages_show_tables_and_escape(browser: Browser, used: SeccompProfile) -> None:
    details = {
        "summary": "<b>",
        "calls": {"refused": ["ptrace"], "allowed": 3},
        "programs": {"tried": ["a"], "broken": [{"name": "<i>", "complaint": "no", "refused": ["clone3"]}]},
    }
    done = {"state": "done", "finished_at": timezone.now(), "verdict": "breaks_runtime"}
    probe = Inspection.objects.create(kind="probe", revision=used.current, details=details, **done)
    text = browser.get(f"/admin/inspections/inspection/{probe.pk}/change/").content.decode()
    assert "clone3" in text
    assert "&lt;i&gt;" in text
    assert "<i>" not in text
    assert browser.get("/admin/inspections/inspection/").status_code == 200


def test_a_button_asks_for_a_probe(browser: Browser, used: SeccompProfile) -> None:
    page = browser.get(f"/admin/seccomp_profiles/seccompprofile/{used.pk}/change/").content.decode()
    assert "/admin/inspections/inspection/ask/probe/" in page
    browser.post("/admin/inspections/inspection/ask/probe/", {"revision": used.current.pk})
    assert Inspection.objects.get().runtime_id == used.runtimes.get().pk


def test_a_button_saves_what_was_learnt(browser: Browser, used: SeccompProfile) -> None:
    details = {"proposal": denying("mount"), "difference": {"denied": [], "allowed": [], "changed": []}}
    done = {"state": "done", "finished_at": timezone.now()}
    learnt = Inspection.objects.create(kind="learn", revision=used.current, details=details, **done)
    url = f"/admin/inspections/inspection/{learnt.pk}"
    assert "Save the proposal" in browser.get(f"{url}/change/").content.decode()
    browser.post(f"{url}/save/", {"profile": "used"})
    assert used.revisions.latest("number").effective == denying("mount")


def test_asking_takes_the_right_to_change_profiles(
    client: Browser, used: SeccompProfile, django_user_model: Any
) -> None:
    client.force_login(django_user_model.objects.create_user("looker", is_staff=True))
    answer = client.post("/admin/inspections/inspection/ask/probe/", {"revision": used.current.pk})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("program", "name"), [({"mode": "script"}, "program 1"), ({"name": "a"}, "a"), (7, "program 1")]
)
def test_stored_program_without_name_or_code_ends_its_inspection(
    python_runtime: Runtime, engine: Engine, program: Any, name: str
) -> None:
    inspection = Inspection.objects.create(
        kind=InspectionKind.LEARN,
        runtime=python_runtime,
        state=InspectionState.RUNNING,
        details={"request": {"programs": [program]}},
    )
    tasks.make(engine, inspection)
    inspection.refresh_from_db()
    assert inspection.state == InspectionState.FAILED
    assert inspection.details["summary"] == f"{name} has no code. Send it again."
    assert inspection.details["request"] == {"programs": [name]}


def test_program_without_a_name_is_learnt_from_by_its_number(python_runtime: Runtime) -> None:
    sample = studies.sample_of({"code": "print(1)"}, 2, python_runtime, python_runtime.limits)
    assert (sample.name, sample.job.code) == ("program 2", "print(1)")
