import select
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import psycopg
import pytest
from django.db import OperationalError, connection
from django_q.models import OrmQ

from clients.models import Client
from executions.models import Execution, Status
from sandbox_platform.kit.broker import FEW, NOBODY, TAKE, NotifyBroker
from tests.live import eventually

MakeExecution = Callable[..., Execution]


@pytest.fixture
def a(transactional_db: None) -> Client:
    return Client.objects.create(name="a")


@pytest.fixture
def b(transactional_db: None) -> Client:
    return Client.objects.create(name="b")


@pytest.fixture
def broker(transactional_db: None) -> Iterator[NotifyBroker]:
    it = NotifyBroker()
    with closing(it._listen()):
        yield it


def put(client: Client | None, *tasks: str) -> None:
    for task in tasks:
        NotifyBroker(client_id=client.pk if client else None).enqueue(task)


def put_many(client: Client, number: int) -> None:
    """As PUT does, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_q_ormq (key, payload, lock, client_id)"
            " SELECT %s, 'a' || i, now(), %s FROM generate_series(1, %s) i",
            [NotifyBroker().list_key, client.pk, number],
        )


def take(broker: NotifyBroker) -> str:
    taken = broker.dequeue()
    assert taken and len(taken) == 1
    return taken[0][1]


def test_one_clients_tasks_are_taken_in_order(broker: NotifyBroker, a: Client) -> None:
    put(a, "1", "2", "3")
    assert [take(broker), take(broker), take(broker)] == ["1", "2", "3"]


def test_task_is_taken_once(broker: NotifyBroker, a: Client) -> None:
    put(a, "1")
    take(broker)
    assert not broker.dequeue()
    assert not OrmQ.objects.exists()


def test_single_run_overtakes_a_burst(
    broker: NotifyBroker, a: Client, b: Client, make_execution: MakeExecution
) -> None:
    make_execution(client=a, status=Status.RUNNING)
    put_many(a, 500)
    put(b, "b")
    assert take(broker) == "b"


def test_single_run_comes_second_when_nothing_runs_yet(broker: NotifyBroker, a: Client, b: Client) -> None:
    put_many(a, 500)
    put(b, "b")
    assert [take(broker), take(broker), take(broker)] == ["a1", "b", "a2"]


def test_bursts_of_two_clients_alternate(broker: NotifyBroker, a: Client, b: Client) -> None:
    put_many(a, 10)
    put(b, "b1", "b2", "b3")
    assert [take(broker) for _ in range(6)] == ["a1", "b1", "a2", "b2", "a3", "b3"]


def test_client_with_fewest_running_is_next(
    broker: NotifyBroker, a: Client, b: Client, make_execution: MakeExecution
) -> None:
    for client, running in ((a, 1), (b, 2)):
        for _ in range(running):
            make_execution(client=client, status=Status.RUNNING)
    put(b, "b")
    put(a, "a")
    assert [take(broker), take(broker)] == ["a", "b"]


def test_ended_and_queued_executions_cost_nobody_his_turn(
    broker: NotifyBroker, a: Client, b: Client, make_execution: MakeExecution
) -> None:
    for status in (Status.SUCCEEDED, Status.QUEUED):
        make_execution(client=a, status=status)
    make_execution(client=b, status=Status.RUNNING)
    put(b, "b")
    put(a, "a")
    assert take(broker) == "a"


def test_callers_without_a_token_are_one_client(
    broker: NotifyBroker, a: Client, make_execution: MakeExecution
) -> None:
    make_execution(client=None, status=Status.RUNNING)
    put(None, "nobody")
    put(a, "a")
    assert [take(broker), take(broker)] == ["a", "nobody"]


def test_task_of_the_platform_itself_is_taken(broker: NotifyBroker) -> None:
    OrmQ.objects.create(key=broker.list_key, payload="stock", lock="2020-01-01T00:00Z")
    assert take(broker) == "stock"


def test_tasks_of_another_queue_are_left_alone(broker: NotifyBroker, a: Client) -> None:
    OrmQ.objects.create(key="another", payload="other", lock="2020-01-01T00:00Z")
    assert not broker.dequeue()


def test_nobody_is_no_clients_key(a: Client) -> None:
    assert a.pk != NOBODY


def test_takers_at_the_same_time_take_different_tasks(transactional_db: None) -> None:
    clients = [Client.objects.create(name=name) for name in "abc"]
    tasks = {f"{client}{i}" for client in clients for i in range(20)}
    for client in clients:
        put(client, *(f"{client}{i}" for i in range(20)))
    takers = 6
    together = Barrier(takers)

    def take_all() -> list[str]:
        broker = NotifyBroker()
        taken = []
        together.wait()
        try:
            while found := broker._take():
                taken += [payload for _, payload in found]
        finally:
            connection.close()
        return taken

    with ThreadPoolExecutor(takers) as pool:
        results = [future.result() for future in [pool.submit(take_all) for _ in range(takers)]]
    taken = [task for result in results for task in result]
    assert len(taken) == len(set(taken))
    # Whoever finds all that is next in others' hands comes again later: what is left is no loss.
    left = set(OrmQ.objects.values_list("payload", flat=True))
    assert set(taken) | left == tasks
    assert len(left) < takers


def test_task_in_another_takers_hands_is_passed_over(broker: NotifyBroker, a: Client, database_url: str) -> None:
    put(a, "1", "2")
    with psycopg.connect(database_url) as other, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")
        other.execute("SELECT id FROM django_q_ormq ORDER BY id LIMIT 1 FOR UPDATE")
        try:
            assert take(broker) == "2"
        finally:
            connection.close()


def test_reading_ten_thousand_tasks_is_avoided(broker: NotifyBroker, a: Client, b: Client) -> None:
    """However long the queue, a few rows of each client are looked at."""
    put_many(a, 10_000)
    put(b, "b")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE django_q_ormq")
        cursor.execute(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + TAKE,
            {"key": broker.list_key, "few": FEW, "served": [], "node": "n1"},
        )
        plan = cursor.fetchone()[0][0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200


class TheseWorkers:
    def __init__(self, idle: int) -> None:
        self.idle = idle

    def reserve(self, timeout: float) -> bool:
        self.idle -= 1
        if self.idle < 0:
            self.idle = 0
            return False
        return True

    def give_back(self) -> None:
        self.idle += 1


def test_nothing_is_taken_while_all_workers_are_busy(a: Client) -> None:
    put(a, "1")
    broker = NotifyBroker(workers=TheseWorkers(idle=0))
    with closing(broker._listen()):
        assert broker.dequeue() is None
    assert OrmQ.objects.count() == 1


def test_lost_connection_is_noticed_while_all_workers_are_busy(a: Client) -> None:
    broker = NotifyBroker(workers=TheseWorkers(idle=0))
    before = broker._listen()
    connection.cursor().execute("SELECT pg_terminate_backend(%s)", [before.connection.info.backend_pid])

    def has_another() -> bool:
        broker.dequeue()
        return broker._listener is not before

    eventually(has_another, "it listens again")
    broker._listen().close()


def test_notifications_are_read_while_all_workers_are_busy(a: Client) -> None:
    broker = NotifyBroker(workers=TheseWorkers(idle=0))
    with closing(broker._listen()) as listener:
        put(a, "1")
        assert select.select([listener.connection], [], [], 60)[0]  # it has come
        broker.dequeue()
        assert listener.wait(0.1) == []


def test_worker_is_given_back_when_postgres_is_away(a: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise OperationalError

    workers = TheseWorkers(idle=1)
    broker = NotifyBroker(workers=workers)
    monkeypatch.setattr(broker, "_take", fails)
    with closing(broker._listen()):
        assert broker.dequeue() is None
    assert workers.idle == 1


@pytest.mark.parametrize(("tasks", "idle"), [(["1"], 0), ([], 1)])
def test_worker_stays_reserved_only_for_a_task(a: Client, tasks: list[str], idle: int) -> None:
    workers = TheseWorkers(idle=1)
    broker = NotifyBroker(workers=workers)
    put(a, *tasks)
    with closing(broker._listen()):
        broker.dequeue()
    assert workers.idle == idle
