from collections.abc import Callable

import pytest

from inspections import services as inspections
from inspections import tasks
from inspections.models import Inspection, InspectionKind
from runtimes.models import Runtime
from sandboxes.engine import Engine
from seccomp_profiles import shipped
from seccomp_profiles.models import SeccompProfile, SeccompRevision
from tests.inspections.conftest import SLUGS, denying, make_runtime, make_whole_runtime

pytestmark = pytest.mark.needs_docker


def probed(revision: SeccompRevision, runtime: Runtime) -> Inspection:
    inspection = inspections.request(InspectionKind.PROBE, revision=revision, runtime=runtime)
    tasks.inspect()
    inspection.refresh_from_db()
    return inspection


def test_a_profile_that_holds(
    engine: Engine, runtime: Runtime, revision_of: Callable[..., SeccompRevision]
) -> None:
    probe = probed(revision_of(denying("ptrace", "mount")), runtime)
    assert probe.verdict == "enforced", probe.details
    assert set(probe.details["calls"]["refused"]) == {"ptrace", "mount"}
    assert probe.details["programs"]["broken"] == []
    assert (probe.image_id, probe.runsc_version) == (engine.image_id(runtime.image), engine.version())


def test_what_is_refused_to_a_program_is_named(
    engine: Engine, runtime: Runtime, revision_of: Callable[..., SeccompRevision]
) -> None:
    probe = probed(revision_of(denying("clone3")), runtime)
    assert probe.verdict == "breaks_runtime", probe.details
    assert probe.details["programs"]["broken"][0]["refused"] == ["clone3"]


def test_killing_and_argument_rules(engine: Engine, revision_of: Callable[..., SeccompRevision]) -> None:
    rules = denying("ptrace", action="SCMP_ACT_KILL")
    condition = {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}
    rules["syscalls"].append({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [condition]})
    probe = probed(revision_of(rules), make_runtime("python"))
    assert probe.verdict == "enforced", probe.details
    assert set(probe.details["calls"]["refused"]) == {"ptrace", "socket"}


@pytest.mark.parametrize("name", ["default", "compute"])
@pytest.mark.parametrize("slug", SLUGS)
def test_shipped_profiles_hold_and_break_nothing(db: None, engine: Engine, slug: str, name: str) -> None:
    shipped.create_missing()
    probe = probed(SeccompProfile.objects.get(name=name).current, make_whole_runtime(slug))
    assert probe.verdict == "enforced", probe.details


@pytest.mark.parametrize("slug", SLUGS)
def test_the_strict_profile_runs_pure_functions_and_refuses_the_rest(db: None, engine: Engine, slug: str) -> None:
    shipped.create_missing()
    probe = probed(SeccompProfile.objects.get(name="strict").current, make_runtime(slug))
    broken = {program["name"] for program in probe.details["programs"]["broken"]}
    assert broken.isdisjoint({"hello", "function"}), probe.details
    assert {"ptrace", "mount", "socket"} <= set(probe.details["calls"]["refused"])
