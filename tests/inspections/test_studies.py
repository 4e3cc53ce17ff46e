"""What an inspection starts a program with, against what a worker starts it with; real ones: test_studies_live.py."""

from types import SimpleNamespace

import pytest

from clients.models import Client
from executions import acquisition, services, tasks
from executions.models import Execution
from inspections.laboratory import Laboratory
from inspections.models import Inspection, InspectionKind
from inspections.studies import affected, replayed
from runtimes.models import Runtime
from sandboxes.configuration import SandboxConfiguration
from seccomp_profiles import revisions
from tests.seccomp_profiles.test_validators import deny, profile

pytestmark = pytest.mark.django_db


def submit(runtime: Runtime, client: Client | None = None, **fields: object) -> Execution:
    request = services.Request(runtime, "def main(): return 1", "test", client=client, **fields)
    execution: Execution = tasks.take(str(services.submit(request, policy="off").pk))
    return execution


def laboratory(runtime: Runtime) -> Laboratory:
    """Starts nothing: an engine that knows only the image's id."""
    engine = SimpleNamespace(image_id=lambda reference: reference)
    return Laboratory.of(engine, Inspection(), SandboxConfiguration.of_runtime(runtime))


def test_dry_run_has_the_limits_of_the_worker(python_runtime: Runtime) -> None:
    capped = Client.objects.create(name="capped", max_wall_time_ms=500, max_memory_bytes=64 * 1024**2)
    execution = submit(python_runtime, capped)
    worker = acquisition.configuration_of(execution).limits
    dry_run = replayed(laboratory(python_runtime), execution)
    assert dry_run.laboratory.limits == worker
    assert (worker.wall_time_ms, worker.memory_bytes) == (500, 64 * 1024**2)


def test_dry_run_compares_with_the_profile_that_the_worker_uses(python_runtime: Runtime) -> None:
    quiet = revisions.create_profile("quiet", profile(deny("mkdir")))
    execution = submit(python_runtime, Client.objects.create(name="picky", seccomp_profile=quiet))
    assert replayed(laboratory(python_runtime), execution).current == quiet.current.effective


def test_dry_run_leaves_out_clients_whom_the_draft_does_not_concern(python_runtime: Runtime) -> None:
    quiet, other = (revisions.create_profile(name, profile(deny("mkdir"))) for name in ("quiet", "other"))
    mine = submit(python_runtime, Client.objects.create(name="mine", seccomp_profile=quiet))
    submit(python_runtime, Client.objects.create(name="theirs", seccomp_profile=other))
    draft = Inspection(kind=InspectionKind.REPLAY, runtime=python_runtime, revision=quiet.current)
    assert list(affected(draft, python_runtime)) == [mine]
