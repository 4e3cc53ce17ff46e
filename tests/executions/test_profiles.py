"""Under which profile the worker runs an execution."""

from collections.abc import Callable, Iterator

import pytest
from pytest_django import Settings

from clients.models import Client
from executions import acquisition, tasks
from executions.egress.policy import network_for
from executions.models import Execution, Status
from runtimes.models import Network, Runtime
from sandboxes.models import Sandbox, SandboxState
from sandboxes.sessions import session_of
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompProfile
from tests.sandboxes.stub_engine import StubEngine
from tests.seccomp_profiles.test_validators import deny, profile

MakeExecution = Callable[..., Execution]


@pytest.fixture
def engine(settings: Settings) -> Iterator[StubEngine]:
    settings.SANDBOX_NODE = "test-profiles"
    engine = StubEngine()
    yield engine
    engine.close()


@pytest.fixture
def quiet(db: None) -> SeccompProfile:
    return revisions.create_profile("quiet", profile(deny("mkdir")))


def taken(make_execution: MakeExecution, client: Client | None = None) -> Execution:
    execution: Execution = tasks.take(str(make_execution(status=Status.QUEUED, client=client).pk))
    return execution


def test_runs_of_the_runtimes_profile_take_warm_sandboxes(
    make_execution: MakeExecution, quiet: SeccompProfile
) -> None:
    Runtime.objects.update(seccomp_profile=quiet)
    configuration = acquisition.configuration_of(taken(make_execution))
    assert (configuration.profile, configuration.is_pooled) == (quiet.current, True)


def test_profile_of_the_client_goes_before_the_runtimes(
    make_execution: MakeExecution, quiet: SeccompProfile
) -> None:
    Runtime.objects.update(seccomp_profile=revisions.create_profile("other"))
    configuration = acquisition.configuration_of(
        taken(make_execution, Client.objects.create(name="picky", seccomp_profile=quiet))
    )
    assert configuration.profile == quiet.current
    assert not configuration.is_pooled


def test_claim_reads_every_column_that_a_run_in_a_warm_sandbox_needs(
    make_execution: MakeExecution, quiet: SeccompProfile, django_assert_num_queries: Callable[..., object]
) -> None:
    Runtime.objects.update(seccomp_profile=quiet)
    execution = taken(make_execution, Client.objects.create(name="picky", seccomp_profile=quiet))
    with django_assert_num_queries(0):  # type: ignore[attr-defined]
        configuration = acquisition.configuration_of(execution)
        assert (configuration.profile_name, configuration.profile_revision) == ("quiet", 1)
        assert configuration.image
        assert configuration.is_pooled
        assert network_for(execution) == Network.NONE
        tasks.job_of(execution, configuration.limits).frame()
        session_of(execution.runtime, None, "", configuration.limits)


def test_revision_activated_while_the_run_waited_is_the_one_it_starts_under(
    make_execution: MakeExecution, quiet: SeccompProfile, engine: StubEngine
) -> None:
    Runtime.objects.update(seccomp_profile=quiet)
    execution = taken(make_execution)
    revisions.put_in_force(revisions.add_revision(quiet, profile(deny("rmdir"))), by="root")
    assert acquisition.start(engine, execution).profile_revision == 2


def test_sandbox_that_started_under_the_old_revision_is_given_up(
    make_execution: MakeExecution, quiet: SeccompProfile, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Runtime.objects.update(seccomp_profile=quiet)
    execution = taken(make_execution)
    start = engine.start

    def activate_meanwhile(container_id: str) -> None:
        monkeypatch.undo()
        revisions.put_in_force(revisions.add_revision(quiet, profile(deny("rmdir"))), by="root")
        start(container_id)

    monkeypatch.setattr(engine, "start", activate_meanwhile)
    assert acquisition.start(engine, execution).profile_revision == 2
    assert Sandbox.objects.get(profile_revision=1).state == SandboxState.USED
