"""Each service does its part of alerts with its own role in Postgres, and no more."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.utils import timezone

from alerts import jobs, notifications, shipped, tasks
from alerts.models import Alert, Channel, Notification, Rule, RuleState, Silence
from sandbox_platform.kit.services import Service
from sandboxes.models import Node
from tests.alerts.conftest import Later, Receiver, evaluate, firing
from tests.sandbox_platform.acting import (  # noqa: F401 -- fixtures
    acting_as,
    attempt,
    made,
    there_are_roles,
)

MakeChannel = Callable[..., Channel]


@pytest.fixture
def rules() -> None:
    shipped.create_missing()
    Rule.objects.update(pending_ms=0, recover_ms=0)


@pytest.mark.usefixtures("rules")
def test_keeper_evaluates_every_condition_that_is_its(make_channel: MakeChannel) -> None:
    make_channel()
    AccessAttempt.objects.create(
        username="x", ip_address="192.0.2.1", user_agent="", get_data="", post_data="", failures_since_start=50
    )
    with acting_as(Service.KEEPER):
        assert evaluate() > 10
    assert list(RuleState.objects.exclude(error="").values_list("rule__name", "error")) == []
    assert "address 192.0.2.1" in firing()
    assert Notification.objects.get().in_flight_since is not None


@pytest.mark.usefixtures("rules", "loopback_allowed")
def test_callbacks_service_finds_the_keeper_gone_and_tells_it(
    make_channel: MakeChannel, receiver: Receiver, later: Later
) -> None:
    make_channel(url=receiver.url)
    Node.objects.create(name="n", seen_at=timezone.now())
    with acting_as(Service.CALLBACKS):
        assert evaluate(Service.CALLBACKS) == 1
    notification = Notification.objects.get()
    with acting_as(Service.CALLBACKS):
        tasks.send(notification.pk, 0)
    assert firing() == ["node n"]
    assert b"Keeper gone" in receiver.received[0].body
    notification.refresh_from_db()
    assert notification.status == "delivered"


@pytest.mark.usefixtures("rules")
def test_web_requests_a_test(make_channel: MakeChannel) -> None:
    channel = make_channel()
    with acting_as(Service.WEB):
        notifications.test(channel, "user a")
    assert Notification.objects.get().in_flight_since is not None


@pytest.mark.usefixtures("rules")
def test_keeper_deletes_what_is_old_and_nothing_else(make_channel: MakeChannel, later: Later) -> None:
    make_channel()
    Node.objects.create(name="n", seen_at=timezone.now())
    rule = Rule.objects.get(name="Workers gone")
    Silence.objects.create(rule=rule, until=timezone.now() + timedelta(hours=1), reason="r", created_by="user a")
    evaluate()
    Node.objects.all().delete()
    later(minutes=2)
    evaluate()
    open_ones = Alert.objects.open().count()
    Notification.objects.update(status="delivered", next_attempt_at=None, finished_at=timezone.now())
    assert Alert.objects.filter(state="resolved").exists()
    with acting_as(Service.KEEPER):
        jobs.purge()
    assert Alert.objects.filter(state="resolved").exists() and Notification.objects.exists()
    later(days=401)
    with acting_as(Service.KEEPER):
        jobs.purge()
    assert (Alert.objects.count(), Notification.objects.count(), Silence.objects.count()) == (open_ones, 0, 0)


@pytest.mark.parametrize("service", [Service.KEEPER, Service.WORKER, Service.EGRESS])
def test_address_of_a_channel_is_hidden_from_whom_it_does_not_concern(service: Service) -> None:
    assert "permission denied" in attempt(service, "SELECT url FROM alerts_channel")


@pytest.mark.parametrize(
    "service, statement",
    [
        (Service.KEEPER, "UPDATE alerts_rule SET enabled = false"),
        (Service.KEEPER, "DELETE FROM alerts_channel"),
        (Service.KEEPER, "SELECT post_data FROM axes_accessattempt"),
        (Service.CALLBACKS, "UPDATE alerts_channel SET url = 'https://evil.example.com/'"),
        (Service.CALLBACKS, "INSERT INTO alerts_silence (rule_id) VALUES (1)"),
        (Service.CALLBACKS, "DELETE FROM alerts_notification"),
        (Service.WEB, "UPDATE alerts_alert SET state = 'resolved'"),
        (Service.WEB, "DELETE FROM alerts_notification"),
        (Service.WORKER, "DELETE FROM alerts_rule"),
    ],
)
def test_service_may_not(service: Service, statement: str) -> None:
    assert "permission denied" in attempt(service, statement)
