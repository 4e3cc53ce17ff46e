"""Deliveries from the execution's end to the last attempt, in rows; sent by the real task to a real server."""

import json
import socket
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from clients.models import Client
from executions import services
from executions.callbacks import deliveries, signing
from executions.callbacks.models import Delivery, DeliveryAttempt, DeliveryStatus
from executions.callbacks.sender import Answer
from executions.callbacks.tasks import deliver
from executions.models import Execution, Mode, Outcome, Status
from executions.representation import detail
from executions.verdict import Verdict
from runtimes.models import Runtime
from sandbox_platform.keeper import build_keeper
from sandbox_platform.kit.notify import CALLBACK, CALLBACK_QUEUED, QUEUED, Listener
from sandbox_platform.kit.tasks import read
from tests.executions.callbacks.conftest import Receiver
from tests.sandboxes.stub_engine import StubEngine

pytestmark = pytest.mark.django_db
MakeExecution = Callable[..., Execution]
URL = "https://example.com/hook"
DONE = Verdict(Status.SUCCEEDED, Outcome.COMPLETED, exit_code=0)
REFUSED = Answer(500, "Not a success status (2xx).", 12)


@pytest.fixture
def ended(make_execution: MakeExecution) -> Callable[..., Delivery]:
    def make(**fields: Any) -> Delivery:
        return Delivery.objects.get(execution=make_execution(**{"callback_url": URL} | fields))

    return make


def queued() -> list[tuple[Any, ...]]:
    """Arguments of the tasks in the callbacks' queue."""
    rows = OrmQ.objects.filter(key="callbacks").order_by("id")
    return [read(row.payload).arguments for row in rows]


def attempt(delivery: Delivery, answer: Answer) -> Delivery:
    taken = deliveries.take(delivery.pk, Delivery.objects.get(pk=delivery.pk).attempt_count)
    assert taken
    deliveries.record(taken, timezone.now(), answer)
    return Delivery.objects.get(pk=delivery.pk)


# --- An end makes a delivery ---


def test_the_worker_s_end_makes_one(make_execution: MakeExecution) -> None:
    execution = make_execution(status="running", callback_url=URL)
    assert not Delivery.objects.exists()
    services.finish(execution.pk, DONE)
    assert Delivery.objects.get().execution_id == execution.pk


def test_a_cancelled_execution_makes_one(make_execution: MakeExecution) -> None:
    execution = make_execution(status="queued", callback_url=URL)
    services.cancel(execution.pk)
    assert Delivery.objects.get().execution_id == execution.pk


def test_an_end_by_sql_makes_one(make_execution: MakeExecution) -> None:
    execution = make_execution(status="queued", callback_url=URL)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE executions_execution SET status = 'cancelled', outcome = 'queue_timeout', finished_at = now()"
        )
    assert Delivery.objects.get().execution_id == execution.pk


def test_a_rejected_request_makes_one(python_runtime: Runtime) -> None:
    python_runtime.enabled = False
    request = services.Request(python_runtime, "x", "api", Mode.SCRIPT, callback_url=URL)
    execution = services.submit(request, policy="off")
    assert Delivery.objects.get().execution_id == execution.pk


def test_an_accepted_request_makes_none_yet(python_runtime: Runtime) -> None:
    request = services.Request(python_runtime, "x", "api", Mode.SCRIPT, callback_url=URL)
    assert services.submit(request, policy="off").callback_url == URL
    assert not Delivery.objects.exists()


def test_who_asked_for_none_gets_none(make_execution: MakeExecution) -> None:
    services.finish(make_execution(status="running").pk, DONE)
    make_execution(status="rejected")
    assert not Delivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_keeper_hears_of_it(make_execution: MakeExecution) -> None:
    with Listener(CALLBACK) as listener:
        make_execution(callback_url=URL)
        assert len(listener.wait(60)) == 1


# --- The queue ---


def test_a_due_delivery_is_queued_once(ended: Callable[..., Delivery]) -> None:
    delivery = ended()
    assert [deliveries.enqueue_due(), deliveries.enqueue_due()] == [1, 0]
    assert queued() == [(delivery.pk, 0)]


def test_a_lost_task_is_queued_again(ended: Callable[..., Delivery]) -> None:
    ended()
    deliveries.enqueue_due()
    OrmQ.objects.all().delete()
    Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    assert deliveries.enqueue_due() == 1


def test_only_one_of_two_tasks_makes_the_attempt(ended: Callable[..., Delivery]) -> None:
    delivery = ended()
    assert deliveries.take(delivery.pk, 0) is not None
    assert deliveries.take(delivery.pk, 0) is None


def test_a_delivery_that_is_not_due_waits(ended: Callable[..., Delivery]) -> None:
    ended()
    Delivery.objects.update(next_attempt_at=timezone.now() + timedelta(seconds=10))
    assert deliveries.enqueue_due() == 0


def test_clients_take_turns(ended: Callable[..., Delivery]) -> None:
    busy, _ = Client.objects.create_with_token("busy")
    other, _ = Client.objects.create_with_token("other")
    for number in range(deliveries.QUEUE_LENGTH + 5):
        ended(client=busy, callback_url=f"https://host{number}.example.com/")
    last = ended(client=other)
    assert deliveries.enqueue_due() == deliveries.PER_CLIENT + 1
    assert (last.pk, 0) in queued()


def test_the_queue_stays_short(ended: Callable[..., Delivery]) -> None:
    for number in range(deliveries.QUEUE_LENGTH + 5):
        client = Client.objects.create(name=f"client {number}")
        ended(client=client, callback_url=f"https://host{number}.example.com/")
    assert [deliveries.enqueue_due(), deliveries.enqueue_due()] == [deliveries.QUEUE_LENGTH, 0]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.COM/hook", "example.com"),
        ("http://example.com.:8080/a:b", "example.com"),
        ("http://127.0.0.1?a=b", "127.0.0.1"),
        ("https://[2a00::1]:444/", "[2a00::1]"),
    ],
)
def test_the_host_is_known_without_port_and_path(ended: Callable[..., Delivery], url: str, host: str) -> None:
    assert ended(callback_url=url).host == host


def test_few_are_in_flight_to_one_host(ended: Callable[..., Delivery], settings: Settings) -> None:
    settings.SANDBOX_CALLBACK_PER_HOST = 2
    for number in range(5):
        ended(client=Client.objects.create(name=f"client {number}"))
    assert [deliveries.enqueue_due(), deliveries.enqueue_due()] == [2, 0]
    first = Delivery.objects.get(pk=queued()[0][0])
    attempt(first, REFUSED)
    assert deliveries.enqueue_due() == 1


def test_what_is_lost_in_flight_makes_room_again(ended: Callable[..., Delivery], settings: Settings) -> None:
    settings.SANDBOX_CALLBACK_PER_HOST = 1
    ended()
    ended()
    deliveries.enqueue_due()
    long_ago = timezone.now() - deliveries.LEASE - timedelta(seconds=1)
    Delivery.objects.exclude(in_flight_since=None).update(in_flight_since=long_ago, next_attempt_at=timezone.now())
    assert deliveries.enqueue_due() == 1


@pytest.mark.parametrize("bound", ["to this host", "of this client"])
def test_what_is_pending_beyond_the_bound_is_given_up(
    ended: Callable[..., Delivery], settings: Settings, bound: str
) -> None:
    settings.SANDBOX_CALLBACK_PENDING = 3
    client = Client.objects.create(name="busy")
    for number in range(5):
        fields = {"callback_url": f"https://host{number}.example.com/", "client": client}
        ended(**fields if bound == "of this client" else {})
    spared = ended(callback_url="https://other.example.com/", client=Client.objects.create(name="other"))
    assert deliveries.give_up_excess() == 2
    newest = Delivery.objects.exclude(pk=spared.pk).order_by("-id")[:2]
    reason = f"Given up: more than 3 callbacks {bound} were pending (SANDBOX_CALLBACK_PENDING)."
    assert [(each.status, each.last_error) for each in newest] == [("given_up", reason)] * 2
    assert Delivery.objects.filter(status="pending").count() == 4
    assert deliveries.give_up_excess() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("loopback_allowed")
def test_a_host_that_never_answers_does_not_delay_another_one(
    ended: Callable[..., Delivery], receiver: Receiver
) -> None:
    client = Client.objects.create(name="busy")
    with socket.create_server(("127.0.0.2", 0), backlog=64) as silent:
        url = f"http://127.0.0.2:{silent.getsockname()[1]}/"
        for _ in range(200):
            ended(client=client, callback_url=url)
        ended(client=client, callback_url=receiver.url)
        deliveries.enqueue_due()
        with ThreadPoolExecutor(cluster_size()) as cluster:
            started = [cluster.submit(_deliver_and_close, *arguments) for arguments in queued()]
            wait(started, return_when=FIRST_COMPLETED, timeout=60)
            # All of them are still waiting for the silent host.
            assert DeliveryAttempt.objects.exclude(status_code=204).count() == 0
            assert len(receiver.received) == 1
            silent.close()  # resets the connections, and the others end
    assert len(started) == 3


def cluster_size() -> int:
    return int(settings.Q_CLUSTER["ALT_CLUSTERS"]["callbacks"]["workers"])


def _deliver_and_close(delivery_id: int, attempt_count: int) -> None:
    try:
        deliver(delivery_id, attempt_count)
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_the_runs_cluster_is_not_woken(ended: Callable[..., Delivery]) -> None:
    ended()
    with Listener(QUEUED, CALLBACK_QUEUED) as listener:
        deliveries.enqueue_due()
        assert [heard.channel for heard in listener.wait(60)] == [CALLBACK_QUEUED]


@pytest.mark.django_db(transaction=True)
def test_the_keeper_queues_what_is_due(ended: Callable[..., Delivery]) -> None:
    delivery = ended()
    build_keeper(StubEngine())._tick()
    assert queued() == [(delivery.pk, 0)]


# --- Attempts ---


def test_a_failed_attempt_is_made_good_later(ended: Callable[..., Delivery]) -> None:
    delivery = attempt(ended(), REFUSED)
    assert (delivery.status, delivery.attempt_count, delivery.last_status_code) == ("pending", 1, 500)
    assert delivery.next_attempt_at is not None
    pause = (delivery.next_attempt_at - timezone.now()).total_seconds()
    assert 6 < pause < 12


@pytest.mark.parametrize("attempts", range(1, deliveries.MAX_ATTEMPTS))
def test_every_pause_is_three_times_the_last(attempts: int) -> None:
    middle = 9 * 3 ** (attempts - 1)
    pauses = [deliveries.pause_after(attempts).total_seconds() for _ in range(50)]
    assert 0.8 * middle <= min(pauses) < max(pauses) <= 1.2 * middle


def test_all_attempts_take_about_a_day() -> None:
    total = sum((deliveries.pause_after(n) for n in range(1, deliveries.MAX_ATTEMPTS)), timedelta())
    assert timedelta(hours=19) < total < timedelta(hours=30)


def test_after_the_last_attempt_it_is_given_up(ended: Callable[..., Delivery]) -> None:
    delivery = ended()
    for _ in range(deliveries.MAX_ATTEMPTS):
        assert delivery.status == DeliveryStatus.PENDING
        delivery = attempt(delivery, REFUSED)
    assert (delivery.status, delivery.next_attempt_at) == ("given_up", None)
    assert delivery.attempts.count() == deliveries.MAX_ATTEMPTS


def test_a_final_answer_is_not_asked_for_again(ended: Callable[..., Delivery]) -> None:
    assert attempt(ended(), Answer(410, "gone", 1, final=True)).status == DeliveryStatus.FAILED


def test_every_attempt_is_logged(ended: Callable[..., Delivery]) -> None:
    attempt(ended(), REFUSED)
    row = DeliveryAttempt.objects.get()
    assert (row.status_code, row.duration_ms, row.error) == (500, 12, "Not a success status (2xx).")


def test_sending_again_starts_anew(ended: Callable[..., Delivery]) -> None:
    delivery = attempt(ended(), Answer(204, "", 1))
    assert delivery.status == DeliveryStatus.DELIVERED
    deliveries.send_again(delivery)
    assert deliveries.enqueue_due() == 1
    assert queued() == [(delivery.pk, 0)]


# --- The task ---


@pytest.mark.usefixtures("loopback_allowed")
def test_the_task_delivers(ended: Callable[..., Delivery], receiver: Receiver) -> None:
    caller, _ = Client.objects.create_with_token("caller")
    delivery = ended(callback_url=receiver.url, client=caller, stdout="hello")
    deliver(delivery.pk, 0)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.last_status_code) == ("delivered", 204)
    (got,) = receiver.received
    assert json.loads(got.body)["data"]["stdout"] == "hello"
    assert got.headers["webhook-id"] == f"msg_{delivery.execution_id}"
    at = timezone.datetime.fromtimestamp(int(got.headers["webhook-timestamp"]), tz=timezone.get_current_timezone())
    assert got.headers == got.headers | signing.headers(
        caller, message_id=got.headers["webhook-id"], body=got.body, now=at
    )


@pytest.mark.usefixtures("loopback_allowed")
def test_a_task_too_many_sends_nothing(ended: Callable[..., Delivery], receiver: Receiver) -> None:
    delivery = ended(callback_url=receiver.url)
    deliver(delivery.pk, 0)
    deliver(delivery.pk, 0)
    assert len(receiver.received) == 1


@pytest.mark.usefixtures("loopback_allowed")
def test_every_attempt_has_the_same_id(ended: Callable[..., Delivery], receiver: Receiver) -> None:
    receiver.status = 500
    delivery = ended(callback_url=receiver.url)
    deliver(delivery.pk, 0)
    deliver(delivery.pk, 1)
    assert len({got.headers["webhook-id"] for got in receiver.received}) == 1
    assert len(receiver.received) == 2


def test_an_inner_address_is_refused_for_good(ended: Callable[..., Delivery], receiver: Receiver) -> None:
    delivery = ended(callback_url=receiver.url)
    deliver(delivery.pk, 0)
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.FAILED
    assert receiver.received == []


@pytest.mark.usefixtures("loopback_allowed")
def test_who_is_done_queues_the_next(ended: Callable[..., Delivery], receiver: Receiver) -> None:
    first, second = ended(callback_url=receiver.url), ended(callback_url=receiver.url)
    Delivery.objects.filter(pk=first.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
    deliver(first.pk, 0)
    assert queued() == [(second.pk, 0)]


def test_a_delivery_that_is_gone_is_no_error(db: None) -> None:
    deliver(1, 0)


# --- What its execution says ---


def test_the_execution_tells_how_far_its_callback_is(ended: Callable[..., Delivery]) -> None:
    delivery = attempt(ended(), REFUSED)
    told = detail(delivery.execution, None)["callback"]
    assert (told["status"], told["attempts"], told["status_code"]) == ("pending", 1, 500)
    Delivery.objects.update(status="given_up", next_attempt_at=None, finished_at=timezone.now(), last_error="Why.")
    told = detail(delivery.execution, None)["callback"]
    assert (told["status"], told["error"], told["next_attempt_at"]) == ("given_up", "Why.", None)


def test_the_page_of_the_execution_tells_why_a_callback_was_given_up(
    ended: Callable[..., Delivery], browser: Browser
) -> None:
    delivery = ended()
    Delivery.objects.update(status="given_up", next_attempt_at=None, finished_at=timezone.now(), last_error="Why.")
    page = browser.get(f"/admin/executions/execution/{delivery.execution_id}/change/", follow=True)
    assert "(given up: Why.)" in page.content.decode()


def test_an_execution_without_a_callback_tells_none(make_execution: MakeExecution) -> None:
    assert detail(make_execution(), None)["callback"] is None
