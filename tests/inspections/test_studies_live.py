"""Learning, naming what was refused, and dry runs, on real sandboxes of both languages."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from executions.models import Execution, Outcome, Status
from inspections import services as inspections
from inspections import tasks
from inspections.models import Inspection, InspectionKind
from runtimes.models import Runtime
from sandboxes.engine import Engine
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompRevision
from tests.inspections.conftest import denying, make_runtime

pytestmark = pytest.mark.needs_docker

MKDIR = {
    "python": "import os\nos.mkdir('made')\nprint('done')\n",
    "nodejs": "require('fs').mkdirSync('made');\nconsole.log('done');\n",
}
HELLO = {"python": "print('hello')\n", "nodejs": "console.log('hello')\n"}
SOCKET = {
    "python": "import socket\nsocket.socket()\n",
    "nodejs": "require('dgram').createSocket('udp4').bind(0);\n",
}


def made(kind: str, **asked: Any) -> Inspection:
    inspection = inspections.request(kind, **asked)
    tasks.inspect()
    inspection.refresh_from_db()
    assert inspection.state == "done", inspection.details
    return inspection


def ran(engine: Engine, runtime: Runtime, code: str, revision: SeccompRevision | None, **fields: Any) -> Execution:
    """As it would be in history."""
    under = {} if revision is None else {"profile_name": revision.profile.name, "profile_sha256": revision.sha256}
    return Execution.objects.create(
        runtime=runtime,
        endpoint="test",
        mode="script",
        code=code,
        code_sha256=hashlib.sha256(code.encode()).hexdigest(),
        runtime_revision=runtime.revision,
        limits=runtime.limits.as_dict(),
        image_id=engine.image_id(runtime.image),
        **{"status": Status.SUCCEEDED, "outcome": Outcome.COMPLETED, "exit_code": 0, **times(), **under, **fields},
    )


def times() -> dict[str, Any]:
    return dict.fromkeys(("queued_at", "enqueued_at", "finished_at"), timezone.now())


def test_the_refused_call_is_named(
    engine: Engine, runtime: Runtime, revision_of: Callable[..., SeccompRevision]
) -> None:
    revision = revision_of(denying("mkdir", "mkdirat"))
    failed = {"status": Status.FAILED, "outcome": Outcome.NONZERO_EXIT, "exit_code": 1}
    execution = ran(engine, runtime, MKDIR[runtime.slug], revision, **failed)
    trace = made(InspectionKind.TRACE, execution_id=execution.pk)
    assert "mkdir" in [call["name"] for call in trace.details["refused"]]
    assert trace.details["same_end"]


def test_what_is_learnt_runs_the_program_and_refuses_the_rest(engine: Engine, runtime: Runtime) -> None:
    learnt = made(InspectionKind.LEARN, runtime=runtime)
    revision = inspections.save_proposal(learnt, name="learnt", by="test")
    probe = made(InspectionKind.PROBE, revision=revision, runtime=runtime)
    assert probe.verdict == "enforced", probe.details
    used = {name for rule in learnt.details["proposal"]["syscalls"] for name in rule["names"]}
    never = {"ptrace", "mount", "vfork"} - used
    assert never >= {"ptrace", "mount"}
    assert never <= set(probe.details["calls"]["refused"])


def test_a_draft_is_tried_on_what_ran(
    engine: Engine, runtime: Runtime, revision_of: Callable[..., SeccompRevision]
) -> None:
    harmless = ran(engine, runtime, HELLO[runtime.slug], None, stdout="hello\n")
    broken = ran(engine, runtime, SOCKET[runtime.slug], None)
    draft = revision_of(denying("socket"))
    replay = made(InspectionKind.REPLAY, revision=draft, runtime=runtime, last=5)
    found = {result["execution"]: result for result in replay.details["executions"]}
    assert found[str(harmless.pk)] == {"execution": str(harmless.pk), "outcome": "same"}
    assert found[str(broken.pk)]["outcome"] == "breaks"
    assert "socket" in found[str(broken.pk)]["refused"]


def test_programs_that_were_sent_are_forgotten(db: None, engine: Engine) -> None:
    program = {"name": "mine", "code": "print('secret')", "mode": "script"}
    learnt = made(InspectionKind.LEARN, runtime=make_runtime("python"), programs=[program])
    assert learnt.details["request"] == {"programs": ["mine"]}
    assert "secret" not in str(learnt.details)


def test_a_program_that_never_ends_the_same_way_breaks_nothing(db: None, engine: Engine) -> None:
    runtime = make_runtime("python")
    ran(engine, runtime, "import os\nprint(os.urandom(8))\n", None, stdout="something\n")
    draft = revisions.create_profile("draft", denying("ptrace")).current
    replay = made(InspectionKind.REPLAY, revision=draft, runtime=runtime, last=1)
    assert replay.details["executions"][0]["outcome"] == "unsteady"
