import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from pytest_django import Settings

from runtimes.models import Runtime
from sandbox_platform.kit.notify import POOL, Listener, ready_channel
from sandboxes import doors, pool
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import EngineError, ImageMissing
from sandboxes.models import Sandbox, SandboxState
from sandboxes.turns import Claimant
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompProfile, hash_rules
from tests.sandboxes.stub_engine import StubEngine

NODE = "test-pool"
MakeSandbox = Callable[..., Sandbox]


@pytest.fixture(autouse=True)
def node(settings: Settings) -> None:
    settings.SANDBOX_NODE = NODE


@pytest.fixture
def make_sandbox(python_runtime: Runtime) -> MakeSandbox:
    def make(**overrides: Any) -> Sandbox:
        defaults = {
            "node": NODE,
            "runtime": python_runtime,
            "runtime_revision": python_runtime.revision,
            "profile_sha256": hash_rules(None),
            "state": SandboxState.READY,
            "container_id": uuid.uuid4().hex,
        }
        return Sandbox.objects.create(**defaults | overrides)

    return make


@pytest.fixture
def engine() -> Iterator[StubEngine]:
    engine = StubEngine()
    yield engine
    engine.close()


def claim(runtime: Runtime, execution_id: uuid.UUID | None = None) -> Sandbox | None:
    runtime = Runtime.objects.select_related("seccomp_profile__active").get(pk=runtime.pk)
    return pool.claim(SandboxConfiguration.of_runtime(runtime), Claimant(execution_id or uuid.uuid4()))


def test_claim_takes_the_oldest(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    oldest = make_sandbox()
    make_sandbox()
    assert claim(python_runtime) == oldest


def test_claim_makes_it_the_executions_own(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    execution_id = uuid.uuid4()
    make_sandbox()
    claim(python_runtime, execution_id)
    sandbox = Sandbox.objects.get()
    assert (sandbox.state, sandbox.execution_id, sandbox.claimed_at is None) == (
        SandboxState.CLAIMED, execution_id, False,
    )  # fmt: skip


def test_claim_of_an_empty_pool_is_none(python_runtime: Runtime) -> None:
    assert claim(python_runtime) is None


@pytest.mark.parametrize("state", [state for state in SandboxState if state != SandboxState.READY])
def test_claim_takes_only_ready_ones(
    python_runtime: Runtime, make_sandbox: MakeSandbox, state: SandboxState
) -> None:
    make_sandbox(state=state, execution_id=uuid.uuid4())
    assert claim(python_runtime) is None


def test_claim_takes_only_those_of_its_own_node(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    make_sandbox(node="another")
    assert claim(python_runtime) is None


def test_claim_takes_only_those_of_its_runtime(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    make_sandbox(runtime=Runtime.objects.create(slug="other", name="Other", image="i", source_file="f"))
    assert claim(python_runtime) is None


def test_claim_takes_none_of_an_older_revision(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    make_sandbox()
    python_runtime.memory_bytes *= 2
    python_runtime.save()
    assert claim(python_runtime) is None


@pytest.mark.parametrize(("has", "wants"), [("none", "egress"), ("egress", "none")])
def test_claim_takes_none_of_another_network(
    python_runtime: Runtime, make_sandbox: MakeSandbox, has: str, wants: str
) -> None:
    make_sandbox(network=has)
    assert (
        pool.claim(SandboxConfiguration.of_runtime(python_runtime, network=wants), Claimant(uuid.uuid4())) is None
    )


def test_claim_with_egress_takes_one_with_a_door(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    made = make_sandbox(network="egress")
    assert (
        pool.claim(SandboxConfiguration.of_runtime(python_runtime, network="egress"), Claimant(uuid.uuid4()))
        == made
    )


def test_sandbox_with_egress_is_started_with_its_own_door(
    python_runtime: Runtime, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.doors.make", lambda sandbox, **_: f"/doors/{sandbox}")
    sandbox = pool.start(engine, SandboxConfiguration.of_runtime(python_runtime, network="egress"))
    (spec,) = engine.created
    assert (spec.door, sandbox.network) == (f"/doors/{sandbox.pk}", "egress")
    assert spec.environment["HTTPS_PROXY"] == "http://127.0.0.1:3128"
    assert spec.runner_config["egress"] is True


def test_only_a_run_waits_for_a_gateway_that_is_down(
    python_runtime: Runtime, engine: StubEngine, make_execution: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience: list[float] = []

    def make(sandbox: int, *, patience_s: float) -> str:
        patience.append(patience_s)
        return f"/doors/{sandbox}"

    monkeypatch.setattr("sandboxes.doors.make", make)
    configuration = SandboxConfiguration.of_runtime(python_runtime, network="egress")
    execution = make_execution(status="running")
    pool.start(engine, configuration)
    pool.start(engine, configuration, claimant=Claimant(execution.pk))
    assert patience == [0, doors.RESTART_S]


def test_sandbox_that_is_held_has_a_door_that_leads_nowhere(
    python_runtime: Runtime, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.doors.make", lambda sandbox, **_: f"/doors/{sandbox}")
    pool.start(engine, SandboxConfiguration.of_runtime(python_runtime, network="egress"), held=True)
    assert engine.created[0].door == "/doors/None"


def test_sandbox_without_egress_has_no_door_and_no_proxy(python_runtime: Runtime, engine: StubEngine) -> None:
    pool.start(engine, SandboxConfiguration.of_runtime(python_runtime))
    (spec,) = engine.created
    assert (spec.door, "egress" in spec.runner_config, "HTTPS_PROXY" in spec.environment) == ("", False, False)


def test_sandbox_is_not_started_when_nobody_makes_its_door(
    python_runtime: Runtime, engine: StubEngine, settings: Settings, tmp_path: Path
) -> None:
    settings.SANDBOX_EGRESS_DIR = tmp_path
    doors.provide()
    with pytest.raises(EngineError, match="egress service"):
        pool.start(engine, SandboxConfiguration.of_runtime(python_runtime, network="egress"))
    assert engine.created == []


def test_claim_takes_none_of_another_profile(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    make_sandbox()
    profile = revisions.create_profile("strict", {"defaultAction": "SCMP_ACT_ALLOW"})
    Runtime.objects.update(seccomp_profile=profile)
    assert claim(python_runtime) is None


def test_claim_takes_none_from_before_the_profile_was_edited(
    python_runtime: Runtime, make_sandbox: MakeSandbox
) -> None:
    profile = revisions.create_profile("strict", {"defaultAction": "SCMP_ACT_ALLOW"})
    Runtime.objects.update(seccomp_profile=profile)
    make_sandbox(profile_sha256=profile.sha256)
    revisions.put_in_force(revisions.add_revision(profile, None), by="root")
    assert claim(python_runtime) is None


def test_claim_of_a_run_that_began_under_another_revision_takes_the_current(
    python_runtime: Runtime, make_sandbox: MakeSandbox
) -> None:
    profile = revisions.create_profile("strict", {"defaultAction": "SCMP_ACT_ALLOW"})
    Runtime.objects.update(seccomp_profile=profile)
    began = SandboxConfiguration.of_runtime(Runtime.objects.select_related("seccomp_profile__active").get())
    make_sandbox(profile_sha256=profile.sha256)
    revisions.put_in_force(revisions.add_revision(profile, None), by="root")
    current = make_sandbox()
    assert pool.claim(began, Claimant(uuid.uuid4())) == current


def test_claim_under_a_profile_without_revision_takes_none(
    python_runtime: Runtime, make_sandbox: MakeSandbox
) -> None:
    make_sandbox()
    runtime = SandboxConfiguration.of_runtime(python_runtime)
    Runtime.objects.update(seccomp_profile=SeccompProfile.objects.create(name="broken"))
    assert pool.claim(runtime, Claimant(uuid.uuid4())) is None


def test_claim_takes_one_of_the_current_profile(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    profile = revisions.create_profile("strict", {"defaultAction": "SCMP_ACT_ALLOW"})
    Runtime.objects.update(seccomp_profile=profile)
    sandbox = make_sandbox(profile_sha256=profile.sha256)
    assert claim(python_runtime) == sandbox


@pytest.mark.django_db(transaction=True)
def test_claims_at_the_same_time_never_get_the_same(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    for _ in range(20):
        make_sandbox()
    barrier = threading.Barrier(8)
    claimed: list[Sandbox | None] = []

    def claim_some() -> None:
        barrier.wait()
        claimed.extend(claim(python_runtime) for _ in range(4))
        connection.close()

    threads = [threading.Thread(target=claim_some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [sandbox.pk for sandbox in claimed if sandbox]
    assert (len(taken), len(set(taken)), claimed.count(None)) == (20, 20, 12)


@pytest.mark.django_db(transaction=True)
def test_claim_does_not_wait_for_another_that_has_not_committed(
    python_runtime: Runtime, make_sandbox: MakeSandbox, database_url: str
) -> None:
    first, second = make_sandbox(), make_sandbox()
    with psycopg.connect(database_url) as other:
        other.execute("SELECT 1 FROM executions_sandbox WHERE id = %s FOR UPDATE", [first.pk])
        assert claim(python_runtime) == second


@pytest.mark.django_db(transaction=True)
def test_claim_tells_the_keeper(python_runtime: Runtime, make_sandbox: MakeSandbox) -> None:
    make_sandbox()
    execution_id = uuid.uuid4()
    with Listener(POOL) as listener:
        pool.claim(SandboxConfiguration.of_runtime(python_runtime), Claimant(execution_id))
        assert (POOL, f"claimed:{python_runtime.pk}:none:{execution_id}") in listener.wait(10)


def test_start_makes_a_ready_one(python_runtime: Runtime, engine: StubEngine) -> None:
    pool.start(engine, SandboxConfiguration.of_runtime(python_runtime))
    sandbox = Sandbox.objects.get()
    assert (sandbox.state, sandbox.container_id in engine.here, sandbox.runtime_revision) == (
        SandboxState.READY, True, python_runtime.revision,
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_start_tells_who_waits_for_one(python_runtime: Runtime, engine: StubEngine) -> None:
    channel = ready_channel("e-1")
    with Listener(channel) as listener:
        pool.start(
            engine,
            SandboxConfiguration.of_runtime(python_runtime),
            call={(python_runtime.pk, "none"): ["e-1"]}.__getitem__,
        )
        assert (channel, "") in listener.wait(10)


def test_start_for_an_execution_is_nobody_elses(python_runtime: Runtime, engine: StubEngine) -> None:
    execution_id = uuid.uuid4()
    pool.start(engine, SandboxConfiguration.of_runtime(python_runtime), claimant=Claimant(execution_id))
    assert (Sandbox.objects.get().execution_id, claim(python_runtime)) == (execution_id, None)


def test_start_labels_the_container_with_its_row(python_runtime: Runtime, engine: StubEngine) -> None:
    sandbox = pool.start(engine, SandboxConfiguration.of_runtime(python_runtime))
    assert engine.containers()[0].sandbox == str(sandbox.pk)


def test_start_uses_the_image_it_records(python_runtime: Runtime, engine: StubEngine) -> None:
    # By content: a tag that is moved meanwhile would make the record untrue.
    sandbox = pool.start(engine, SandboxConfiguration.of_runtime(python_runtime))
    assert engine.created[0].image == sandbox.image_id == f"sha256:{python_runtime.image}"


def test_start_applies_the_runtimes_profile(python_runtime: Runtime, engine: StubEngine) -> None:
    profile = revisions.create_profile("strict", {"defaultAction": "SCMP_ACT_ALLOW"})
    python_runtime.seccomp_profile = profile
    pool.start(engine, SandboxConfiguration.of_runtime(python_runtime))
    assert engine.created[0].seccomp == '{"defaultAction": "SCMP_ACT_ALLOW"}'


def test_start_of_a_missing_image_says_so(python_runtime: Runtime, engine: StubEngine) -> None:
    engine.missing.add(python_runtime.image)
    with pytest.raises(ImageMissing):
        pool.start(engine, SandboxConfiguration.of_runtime(python_runtime))


def test_start_that_fails_leaves_its_container_to_be_removed(
    python_runtime: Runtime, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(container_id: str) -> None:
        raise EngineError("no")

    monkeypatch.setattr(engine, "start", fail)
    with pytest.raises(EngineError):
        pool.start(engine, SandboxConfiguration.of_runtime(python_runtime))
    sandbox = Sandbox.objects.get()
    assert (sandbox.state, sandbox.container_id in engine.here) == (SandboxState.USED, True)


def test_dead_sandbox_is_discarded_so_that_its_execution_may_claim_another(
    python_runtime: Runtime, make_sandbox: MakeSandbox
) -> None:
    execution_id = uuid.uuid4()
    dead, alive = make_sandbox(), make_sandbox()
    claimed = claim(python_runtime, execution_id)
    assert claimed == dead
    pool.discard(claimed)
    assert claim(python_runtime, execution_id) == alive


def test_sandbox_records_its_engine(python_runtime: Runtime, engine: StubEngine) -> None:
    pool.start(engine, SandboxConfiguration.of_runtime(python_runtime))
    sandbox = Sandbox.objects.get()
    assert (sandbox.engine, sandbox.runsc_version) == ("docker", "stub")
