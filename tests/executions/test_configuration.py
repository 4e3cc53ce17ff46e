"""What a run gets: resolved at submission, stored, and read alike by worker, dry run, rerun and comparison."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from clients.models import Client
from executions import acquisition, services, tasks
from executions.configuration import NotReproducible, RunConfiguration
from executions.models import Execution, Status
from runtimes.models import Network, Runtime
from sandboxes.models import Sandbox
from seccomp_profiles.models import hash_rules

pytestmark = pytest.mark.django_db
MakeExecution = Callable[..., Execution]


@pytest.fixture
def capped() -> Client:
    return Client.objects.create(name="capped", max_wall_time_ms=500, max_memory_bytes=64 * 1024**2)


def submit(runtime: Runtime, client: Client | None = None, **fields: object) -> Execution:
    request = services.Request(runtime, "def main(): return 1", "test", client=client, **fields)
    execution: Execution = tasks.take(str(services.submit(request, policy="off").pk))
    return execution


def test_submission_stores_what_was_resolved(python_runtime: Runtime, capped: Client) -> None:
    python_runtime.environment = {"A": "b"}
    execution = submit(python_runtime, capped, artifact_suffixes=[".png"])
    resolved = RunConfiguration.resolve(python_runtime, capped, artifact_suffixes=[".png"])
    assert RunConfiguration.stored(execution) == resolved


def test_network_is_resolved_at_submission(python_runtime: Runtime) -> None:
    python_runtime.network = Network.EGRESS
    execution = submit(python_runtime, Client.objects.create(name="agent", network=Network.EGRESS))
    assert execution.network == Network.EGRESS


def test_runtime_changed_while_the_run_waited_counts(python_runtime: Runtime) -> None:
    execution = submit(python_runtime, limits={"wall_time_ms": 9_000})
    python_runtime.wall_time_ms, python_runtime.cpus = 4_000, 2
    python_runtime.save()
    started = RunConfiguration.stored(execution).in_force(Runtime.objects.get(), None)
    assert (started.revision, started.limits.wall_time_ms, started.limits.cpus) == (
        python_runtime.revision,
        4_000,
        2,
    )


def test_runtime_raised_while_the_run_waited_gives_no_more(python_runtime: Runtime) -> None:
    execution = submit(python_runtime)
    Runtime.objects.update(wall_time_ms=60_000)
    assert RunConfiguration.stored(execution).in_force(Runtime.objects.get(), None).limits.wall_time_ms == 10_000


@pytest.fixture
def ended(make_execution: MakeExecution) -> Execution:
    return make_execution(image_id="sha256:then", profile_name="unconfined", profile_sha256=hash_rules(None))


def test_recorded_configuration_is_what_the_sandbox_had(ended: Execution) -> None:
    Runtime.objects.update(wall_time_ms=1, environment={"NEW": "1"}, revision=9)
    recorded = RunConfiguration.stored(ended).as_recorded(Runtime.objects.get())
    assert (recorded.image, recorded.revision, recorded.environment) == ("sha256:then", ended.runtime_revision, {})
    assert recorded.limits.wall_time_ms == 10_000
    assert RunConfiguration.stored(ended).started(recorded, recorded.image) == RunConfiguration.stored(ended)


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ({"image_id": ""}, "never had a sandbox"),
        ({"profile_sha256": "0" * 64, "profile_name": "strict"}, "profile strict was deleted"),
        ({"limits": {"wall_time_ms": 1}}, "different set of limits"),
    ],
)
def test_what_is_gone_is_not_replaced_by_what_there_is(
    ended: Execution, gone: dict[str, object], says: str
) -> None:
    with pytest.raises(NotReproducible, match=says):
        replace(RunConfiguration.stored(ended), **gone).as_recorded(ended.runtime)


def test_pinned_run_starts_from_what_is_recorded(python_runtime: Runtime, ended: Execution) -> None:
    execution = submit(python_runtime, pinned_to=ended)
    assert RunConfiguration.stored(execution) == RunConfiguration.stored(ended)
    assert acquisition.configuration_of(execution).image == "sha256:then"


def test_end_records_the_sandbox_and_keeps_the_rest(python_runtime: Runtime, capped: Client) -> None:
    execution = submit(python_runtime, capped, artifact_suffixes=[".png"])
    sandbox = Sandbox(runtime=python_runtime, runtime_revision=7, profile_name="quiet", image_id="sha256:used")
    services.finish(execution.pk, tasks.Verdict(Status.SUCCEEDED, "completed"), sandbox=sandbox)
    stored = RunConfiguration.stored(Execution.objects.get())
    assert (stored.image_id, stored.runtime_revision, stored.profile_name) == ("sha256:used", 7, "quiet")
    assert (stored.limits["wall_time_ms"], stored.artifact_suffixes) == (500, [".png"])


def test_differences_go_by_the_names_of_the_api(ended: Execution) -> None:
    then = RunConfiguration.stored(ended)
    now = replace(then, environment={"A": "b"}, limits={**then.limits, "wall_time_ms": 1})
    assert then.differences(now) == [
        {"field": "runtime_environment", "then": {}, "now": {"A": "b"}},
        {"field": "limits.wall_time_ms", "then": 10_000, "now": 1},
    ]


def test_artifacts_are_kept_by_the_rule_of_the_row(python_runtime: Runtime) -> None:
    execution = submit(python_runtime, artifact_suffixes=[".csv"])
    assert tasks.job_of(execution, python_runtime.limits).artifact_suffixes == [".csv"]
