import time
from collections.abc import Callable

import pytest

from executions.sandbox.engine import Engine
from runtimes.models import Runtime
from seccomp_profiles import inspections, tasks
from seccomp_profiles.models import Inspection, InspectionKind, SeccompRevision
from tests.seccomp_profiles.conftest import denying

pytestmark = pytest.mark.needs_docker


def probed(engine: Engine, revision: SeccompRevision, runtime: Runtime) -> Inspection:
    inspection = inspections.request(InspectionKind.PROBE, revision=revision, runtime=runtime)
    tasks.inspect()
    inspection.refresh_from_db()
    return inspection


def test_a_profile_that_holds(engine: Engine, runtime: Runtime, revision_of: Callable[..., SeccompRevision]) -> None:
    t=time.time()
    probe = probed(engine, revision_of(denying("ptrace", "mount")), runtime)
    print(time.time()-t, probe.details)
    assert probe.verdict == "enforced", probe.details
    assert set(probe.details["calls"]["refused"]) == {"ptrace", "mount"}
