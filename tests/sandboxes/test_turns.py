"""The order in which waiting runs get sandboxes: a claim out of turn is refused, whoever makes it."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from clients.models import Client
from executions.models import Execution, Status
from runtimes.models import Network, Runtime
from sandboxes import pool, turns
from sandboxes.calls import STALE_S
from sandboxes.configuration import SandboxConfiguration
from sandboxes.models import Sandbox, SandboxState, Wait
from sandboxes.turns import Claimant
from tests.sandboxes.test_pool import MakeSandbox, make_sandbox, node

__all__ = ["make_sandbox", "node"]
NewRun = Callable[..., Claimant]


@pytest.fixture
def clients(db: None) -> tuple[Client, Client]:
    return Client.objects.create(name="a"), Client.objects.create(name="b")


@pytest.fixture
def new_run(make_execution: Callable[..., Execution]) -> NewRun:
    """Create a run that a worker has taken; it waits for a sandbox unless told otherwise."""

    def new_run(client: Client | None = None, *, waits: bool = True, **fields: Any) -> Claimant:
        execution = make_execution(status=Status.RUNNING, node=settings.SANDBOX_NODE, client=client, **fields)
        claimant = Claimant(execution.pk, client.pk if client else turns.NOBODY)
        if waits:
            turns.wait((execution.runtime_id, Network.NONE), claimant)
        return claimant

    return new_run


@pytest.fixture
def claim(python_runtime: Runtime) -> Callable[[Claimant], Sandbox | None]:
    return lambda claimant: pool.claim(SandboxConfiguration.of_runtime(python_runtime), claimant)


Claim = Callable[[Claimant], Sandbox | None]


def order_of(runs: list[Claimant], claim: Claim, make_sandbox: MakeSandbox) -> list[UUID]:
    """Make one sandbox ready at a time, let every run try to claim it, and return who got them."""
    served: list[UUID] = []
    for _ in runs:
        make_sandbox()
        # The last in the list tries first: the order of the attempts must not matter.
        served += [run.execution_id for run in reversed(runs) if run.execution_id not in served and claim(run)]
    return served


def test_burst_and_a_single_run_of_another_client_take_turns(
    clients: tuple[Client, Client], new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox
) -> None:
    burst = [new_run(clients[0]) for _ in range(3)]
    single = new_run(clients[1])
    # The first of the burst was submitted before the single run; its client runs one more than the other then.
    order = [burst[0], single, burst[1], burst[2]]
    assert order_of([*burst, single], claim, make_sandbox) == [run.execution_id for run in order]


def test_client_that_uses_sandboxes_on_another_node_comes_after_one_that_uses_none(
    clients: tuple[Client, Client], new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox
) -> None:
    elsewhere = new_run(clients[0], waits=False)
    make_sandbox(node="another", state=SandboxState.CLAIMED, execution_id=elsewhere.execution_id)
    first, second = new_run(clients[0]), new_run(clients[1])
    assert order_of([first, second], claim, make_sandbox) == [second.execution_id, first.execution_id]


def test_among_equals_the_client_served_longest_ago_comes_first_though_its_run_has_ended(
    clients: tuple[Client, Client], new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox
) -> None:
    new_run(waits=True)  # so that the two runs have to wait, and are noted
    for client in reversed(clients):
        make_sandbox(), make_sandbox()
        assert claim(new_run(client))
        Sandbox.objects.all().delete()
    a, b = new_run(clients[0]), new_run(clients[1])
    Wait.objects.exclude(execution_id__in=[a.execution_id, b.execution_id]).delete()
    assert order_of([a, b], claim, make_sandbox) == [b.execution_id, a.execution_id]


def test_a_client_with_few_runs_need_not_wait_for_the_backlog_of_one_with_many(
    clients: tuple[Client, Client], new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox
) -> None:
    burst = [new_run(clients[0]) for _ in range(4)]
    make_sandbox()
    assert claim(burst[0])
    Sandbox.objects.all().delete()  # its program was quick
    single = new_run(clients[1])
    make_sandbox()
    assert not claim(burst[1])
    assert claim(single)


def test_newcomer_gets_no_sandbox_that_another_run_waits_for(
    new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox
) -> None:
    waiting, newcomer = new_run(), new_run(waits=False)
    make_sandbox()
    assert claim(newcomer) is None
    assert claim(waiting)


def test_newcomer_gets_one_that_is_left_over(new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox) -> None:
    _, newcomer = new_run(), new_run(waits=False)
    make_sandbox(), make_sandbox()
    assert claim(newcomer)


def test_newcomer_whose_turn_comes_first_need_not_wait(
    clients: tuple[Client, Client], new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox
) -> None:
    make_sandbox(state=SandboxState.CLAIMED, execution_id=new_run(clients[0], waits=False).execution_id)
    new_run(clients[0])
    newcomer = new_run(clients[1], waits=False)
    make_sandbox()
    assert claim(newcomer)


@pytest.mark.parametrize("change", [{"node": "another"}, {"network": Network.EGRESS}])
def test_those_who_wait_for_other_sandboxes_are_not_waited_for(
    new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox, change: dict[str, str]
) -> None:
    new_run()
    Wait.objects.update(**change)
    make_sandbox()
    assert claim(new_run(waits=False))


def test_dead_run_is_not_waited_for(new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox) -> None:
    new_run()
    Wait.objects.update(seen_at=timezone.now() - timedelta(seconds=STALE_S + 1))
    make_sandbox()
    assert claim(new_run(waits=False))


def test_who_has_claimed_waits_no_longer(new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox) -> None:
    make_sandbox()
    claim(new_run())
    assert not Wait.objects.exists()


def test_who_may_claim_is_called_in_turn(
    clients: tuple[Client, Client], new_run: NewRun, make_sandbox: MakeSandbox, python_runtime: Runtime
) -> None:
    first, _, other = new_run(clients[0]), new_run(clients[0]), new_run(clients[1])
    for expected in ([], [first], [first, other]):
        assert turns.due((python_runtime.pk, Network.NONE)) == [str(run.execution_id) for run in expected]
        make_sandbox()


@pytest.mark.parametrize("fields", [{"status": Status.QUEUED}, {"requeues": 1}])
def test_claim_for_an_attempt_that_was_given_up_is_refused(
    new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox, fields: dict[str, Any]
) -> None:
    run = new_run()
    Execution.objects.filter(pk=run.execution_id).update(**fields)
    make_sandbox()
    assert claim(run) is None


@pytest.mark.django_db(transaction=True)
def test_uncontended_claim_is_one_statement(
    new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox, django_assert_num_queries: Callable[..., Any]
) -> None:
    run = new_run(waits=False)
    make_sandbox()
    with django_assert_num_queries(1):
        assert claim(run)


@pytest.mark.django_db(transaction=True)
def test_claims_at_the_same_time_serve_those_whose_turn_it_is(
    clients: tuple[Client, Client], new_run: NewRun, claim: Claim, make_sandbox: MakeSandbox
) -> None:
    burst = [new_run(clients[0]) for _ in range(6)]
    singles = [new_run(clients[1]) for _ in range(2)]
    for _ in range(4):
        make_sandbox()
    barrier = threading.Barrier(len(burst) + len(singles))

    def attempt(run: Claimant) -> None:
        barrier.wait()
        claim(run)
        connection.close()

    threads = [threading.Thread(target=attempt, args=[run]) for run in [*burst, *singles]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    served = set(Sandbox.objects.filter(state=SandboxState.CLAIMED).values_list("execution_id", flat=True))
    assert served <= {run.execution_id for run in [*burst[:2], *singles]}
