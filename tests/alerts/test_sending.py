"""Messages that really arrive: at a mail server and at an HTTP receiver."""

import base64
import email
import hashlib
import hmac
import json
from collections.abc import Callable
from email.message import Message
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from alerts import notifications, sending
from alerts.models import Channel, ChannelKind, Notification, Rule
from tests.alerts.conftest import Figures, Later, MailServer, Receiver, evaluate, send_all
from tests.executions.callbacks.test_signing import documented_check

MakeChannel = Callable[..., Channel]
MakeRule = Callable[..., Rule]
MAIL = {"name": "mail", "kind": ChannelKind.MAIL, "url": "", "recipients": ["a@example.com", "b@example.com"]}


def parsed(envelope: Any) -> Message:
    return email.message_from_bytes(envelope.content)


def body(envelope: Any) -> str:
    content = parsed(envelope).get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


def verified(secret: str, got: Any) -> bool:
    """As a receiver does, by the specification of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return expected in got.headers["webhook-signature"].split()


# --- Mail ---


def test_alert_arrives_by_mail(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, mail_server: MailServer
) -> None:
    make_rule()
    make_channel(**MAIL)
    figures.met = {"client a": 3}
    evaluate()
    (notification,) = send_all()
    (envelope,) = mail_server.received
    assert envelope.rcpt_tos == ["a@example.com", "b@example.com"]
    assert parsed(envelope)["Subject"] == "[1 firing] Too many (client a)"
    assert parsed(envelope)["From"] == "platform@example.com"
    assert parsed(envelope)["Auto-Submitted"] == "auto-generated"
    assert "Too many: client a. It is 3." in body(envelope)
    assert (notification.status, notification.last_answer) == ("delivered", "250 2.0.0 Ok: queued as 4XyZ")


def test_refusal_for_good_is_not_repeated(make_channel: MakeChannel, mail_server: MailServer) -> None:
    mail_server.refuses = dict.fromkeys(MAIL["recipients"], "550 5.1.1 No such user")
    notifications.test(make_channel(**MAIL), "user a")
    (notification,) = send_all()
    assert notification.status == "failed"
    assert "a@example.com: 550 5.1.1 No such user" in notification.last_answer


def test_mail_of_an_alert_that_is_refused_for_now_is_repeated(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, mail_server: MailServer, later: Later
) -> None:
    mail_server.refuses = {"DATA": "451 4.3.0 Try again later"}
    make_rule()
    make_channel(**MAIL)
    figures.met = {"client a": 3}
    evaluate()
    assert [(each.status, each.last_answer) for each in send_all()] == [("pending", "451 4.3.0 Try again later")]
    mail_server.refuses = {}
    later(seconds=30)
    notifications.enqueue_due()
    assert [each.status for each in send_all()] == ["delivered"]
    assert len(mail_server.received) == 1


def test_those_whom_the_server_takes_get_the_mail_once(make_channel: MakeChannel, mail_server: MailServer) -> None:
    mail_server.refuses = {"a@example.com": "451 4.7.1 Greylisted"}
    notifications.test(make_channel(**MAIL), "user a")
    (notification,) = send_all()
    assert [envelope.rcpt_tos for envelope in mail_server.received] == [["b@example.com"]]
    assert notification.status == "delivered"
    assert "refused for a@example.com: 451 4.7.1 Greylisted" in notification.last_answer


def test_server_that_is_away_is_named(make_channel: MakeChannel, settings: Settings) -> None:
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.SANDBOX_MAIL_CONFIGURED = "127.0.0.1", 1, True
    notifications.test(make_channel(**MAIL), "user a")
    (notification,) = send_all()
    assert notification.last_answer.startswith("No answer of 127.0.0.1:1: ConnectionRefusedError")


def test_no_mail_server_is_said_with_the_remedy(make_channel: MakeChannel, settings: Settings) -> None:
    settings.SANDBOX_MAIL_CONFIGURED = False
    notifications.test(make_channel(**MAIL), "user a")
    (notification,) = send_all()
    assert (notification.status, notification.last_answer) == ("failed", sending.NO_SERVER)


# --- Webhooks ---


@pytest.mark.usefixtures("loopback_allowed")
def test_alert_arrives_by_webhook_and_its_signature_verifies(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, receiver: Receiver
) -> None:
    make_rule()
    channel = make_channel(url=receiver.url)
    figures.met = {"client a": 3}
    evaluate()
    (notification,) = send_all()
    (got,) = receiver.received
    assert verified(channel.secret, got)
    assert documented_check()(channel.secret, got.headers, got.body)
    assert not verified("whsec_" + base64.b64encode(b"another").decode(), got)
    sent = json.loads(got.body)
    assert (sent["type"], sent["data"]["channel"]) == ("alerts.changed", "hook")
    (alert,) = sent["data"]["alerts"]
    assert (alert["event"], alert["rule"], alert["subject"], alert["value"]) == (
        "firing",
        "Too many",
        "client a",
        3,
    )
    assert got.headers["webhook-id"] == f"alert_{notification.pk}"
    assert (notification.status, notification.last_answer) == ("delivered", "204")


@pytest.mark.usefixtures("loopback_allowed")
def test_both_secrets_sign_for_a_day_after_a_rotation(
    make_channel: MakeChannel, receiver: Receiver, later: Later
) -> None:
    channel = make_channel(url=receiver.url)
    old = channel.secret
    channel.secret_version += 1
    channel.secret_rotated_at = timezone.now()
    channel.save()
    for _ in range(2):
        notifications.test(channel, "user a")
        send_all()
        later(hours=25)
    assert [verified(old, got) for got in receiver.received] == [True, False]
    assert all(verified(channel.secret, got) for got in receiver.received)


@pytest.mark.usefixtures("loopback_allowed")
def test_slack_gets_one_text(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, receiver: Receiver
) -> None:
    make_rule()
    make_channel(kind=ChannelKind.SLACK, url=receiver.url)
    figures.met = {"client a": 3}
    evaluate()
    send_all()
    sent = json.loads(receiver.received[0].body)
    assert sent.keys() == {"text"}
    assert sent["text"].startswith(
        "[1 firing] Too many (client a)\n[firing, warning] Too many: client a. It is 3."
    )


@pytest.mark.usefixtures("loopback_allowed")
@pytest.mark.parametrize(
    "status, expected",
    [
        (500, ("pending", "500 Not a success status (2xx).")),
        (302, ("pending", "302 Redirects are not followed.")),
        (410, ("failed", "410 410 Gone: the receiver wants no more callbacks.")),
    ],
)
def test_answers_of_a_receiver(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, receiver: Receiver,
    status: int, expected: tuple[str, str],
) -> None:  # fmt: skip
    receiver.status, receiver.headers = status, {"Location": "http://127.0.0.1:1/"}
    make_rule()
    make_channel(url=receiver.url)
    figures.met = {"client a": 3}
    evaluate()
    (notification,) = send_all()
    assert (notification.status, notification.last_answer) == expected
    assert len(receiver.received) == 1


def test_private_address_is_not_called(make_channel: MakeChannel, receiver: Receiver) -> None:
    notifications.test(make_channel(url=receiver.url), "user a")
    (notification,) = send_all()
    assert receiver.received == []
    assert (notification.status, "is not a public address" in notification.last_answer) == ("failed", True)


@pytest.mark.usefixtures("loopback_allowed")
def test_message_that_waits_for_a_disabled_channel_is_not_sent(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, receiver: Receiver
) -> None:
    make_rule()
    make_channel(url=receiver.url)
    figures.met = {"client a": 3}
    evaluate()
    Channel.objects.update(enabled=False)
    assert [each.last_answer for each in send_all()] == ["The channel is disabled."]
    assert receiver.received == []


@pytest.mark.usefixtures("loopback_allowed")
def test_message_of_a_deleted_channel_fails(make_channel: MakeChannel, receiver: Receiver) -> None:
    channel = make_channel(url=receiver.url)
    notifications.test(channel, "user a")
    channel.delete()
    (notification,) = send_all()
    assert (notification.status, notification.last_answer) == ("failed", "The channel was deleted.")


@pytest.mark.usefixtures("loopback_allowed")
def test_test_message_is_marked_and_goes_to_a_disabled_channel(
    make_channel: MakeChannel, receiver: Receiver
) -> None:
    notifications.test(make_channel(url=receiver.url, enabled=False), "user ann")
    assert [each.status for each in send_all()] == ["delivered"]
    sent = json.loads(receiver.received[0].body)
    assert (sent["type"], sent["data"]["alerts"]) == ("alerts.test", [])
    assert "requested by user ann" in sent["data"]["text"]


@pytest.mark.usefixtures("loopback_allowed")
def test_failed_test_is_not_repeated(make_channel: MakeChannel, receiver: Receiver) -> None:
    receiver.status = 500
    notifications.test(make_channel(url=receiver.url), "user ann")
    (notification,) = send_all()
    assert (notification.status, notification.attempts.count()) == ("failed", 1)
    assert Notification.objects.count() == 1
