"""Probing, learning and dry runs of runtimes that are not native: one that compiles, and one without a runner."""

from collections.abc import Callable

import pytest

from inspections import services as inspections
from inspections.models import InspectionKind
from runtimes.models import Runner, Runtime
from sandboxes.engine import Engine
from seccomp_profiles.models import SeccompRevision
from tests.inspections.conftest import denying, make_runtime
from tests.inspections.test_studies_live import made, ran

pytestmark = pytest.mark.needs_docker

SHELL = {
    "slug": "bare",
    "name": "Nothing but a shell",
    "image": "debian:trixie-slim",
    "source_file": "main.sh",
    "runner": Runner.SHELL,
    "modes": ["script"],
    "run_command": "/bin/sh {source}",
    "smoke": [
        {"name": "hello", "code": "echo hello", "expect": {"stdout": "hello\n"}},
        {"name": "child", "code": "ls in.txt", "files": {"in.txt": ""}, "expect": {"stdout": "in.txt\n"}},
    ],
}
HELLO = {"c": '#include <stdio.h>\n\nint main(void) { puts("hello"); }\n', "bare": "echo hello\n"}
MKDIR = {
    "c": '#include <sys/stat.h>\n\nint main(void) { return mkdir("made", 0700) != 0; }\n',
    "bare": "mkdir made\n",
}


@pytest.fixture(params=["c", "bare"])
def runtime(db: None, request: pytest.FixtureRequest) -> Runtime:
    return make_runtime("c") if request.param == "c" else Runtime.objects.create(**SHELL)


def test_a_profile_that_holds_breaks_nothing(
    engine: Engine, runtime: Runtime, revision_of: Callable[..., SeccompRevision]
) -> None:
    probe = made(InspectionKind.PROBE, revision=revision_of(denying("ptrace", "mount")), runtime=runtime)
    assert probe.verdict == "enforced", probe.details
    assert set(probe.details["calls"]["refused"]) == {"ptrace", "mount"}
    assert probe.details["programs"]["broken"] == []
    assert "hello" in probe.details["programs"]["tried"]


def test_a_profile_that_breaks_it_says_at_which_call(
    engine: Engine, runtime: Runtime, revision_of: Callable[..., SeccompRevision]
) -> None:
    # The linker makes the program executable with the one, the shell starts each of its programs with the other.
    call = "chmod" if runtime.slug == "c" else "execve"
    probe = made(InspectionKind.PROBE, revision=revision_of(denying(call)), runtime=runtime)
    assert probe.verdict == "breaks_runtime", probe.details
    assert call in probe.details["programs"]["broken"][0]["refused"]


def test_what_is_learnt_runs_its_programs(engine: Engine, runtime: Runtime) -> None:
    learnt = made(InspectionKind.LEARN, runtime=runtime)
    assert {program["status"] for program in learnt.details["programs"]} == {"succeeded"}
    revision = inspections.save_proposal(learnt, name="learnt", by="test")
    probe = made(InspectionKind.PROBE, revision=revision, runtime=runtime)
    assert probe.verdict == "enforced", probe.details


def test_a_draft_is_tried_on_what_ran(
    engine: Engine, runtime: Runtime, revision_of: Callable[..., SeccompRevision]
) -> None:
    harmless = ran(engine, runtime, HELLO[runtime.slug], None, stdout="hello\n")
    broken = ran(engine, runtime, MKDIR[runtime.slug], None)
    draft = revision_of(denying("mkdir", "mkdirat"))
    replay = made(InspectionKind.REPLAY, revision=draft, runtime=runtime, last=5)
    found = {result["execution"]: result for result in replay.details["executions"]}
    assert found[str(harmless.pk)] == {"execution": str(harmless.pk), "outcome": "same"}
    assert found[str(broken.pk)]["outcome"] == "breaks"
    assert "mkdir" in found[str(broken.pk)]["refused"]
