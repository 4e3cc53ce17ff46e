"""Who is told what, and when."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from alerts import notifications, shipped
from alerts.messages import as_json, as_slack, text, title
from alerts.models import Alert, Channel, Notification, Rule, Severity, Silence
from alerts.sending import Answer
from tests.alerts.conftest import Figures, Later, evaluate

MakeRule = Callable[..., Rule]
MakeChannel = Callable[..., Channel]


def told() -> list[tuple[str, list[tuple[str, str]]]]:
    """Channel, and event and subject of each line, of all messages in their order."""
    return [
        (each.channel_name, [(line["event"], line["subject"]) for line in each.lines])
        for each in Notification.objects.order_by("id")
    ]


def silence(rule: Rule, subject: str = "", **lasts: Any) -> Silence:
    until = timezone.now() + timedelta(**lasts or {"hours": 1})
    return Silence.objects.create(rule=rule, subject=subject, until=until, reason="known", created_by="user a")


def test_many_subjects_are_one_message(make_rule: MakeRule, make_channel: MakeChannel, figures: Figures) -> None:
    make_rule()
    make_channel()
    figures.met = {f"client {n:02}": 3 for n in range(40)}
    evaluate()
    (notification,) = Notification.objects.all()
    assert (len(notification.lines), notification.alerts.count()) == (40, 40)
    assert "… and 20 more." in text(notification)
    data = json.loads(as_json(notification))["data"]
    assert (len(data["alerts"]), data["omitted"]) == (20, 20)


def test_each_alert_is_told_once(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, later: Later
) -> None:
    make_rule()
    make_channel()
    figures.met = {"client a": 3}
    for _ in range(3):
        evaluate()
        later(minutes=1)
    assert told() == [("hook", [("firing", "client a")])]


def test_recovery_is_told(make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, later: Later) -> None:
    make_rule()
    make_channel()
    figures.met = {"client a": 3, "client b": 3}
    evaluate()
    later(minutes=1)
    figures.met = {"client b": 3, "client c": 3}
    evaluate()
    assert told()[1:] == [("hook", [("firing", "client c"), ("resolved", "client a")])]
    last = Notification.objects.latest("id")
    assert title(last) == "[1 firing, 1 resolved] Too many (client c); Too many (client a)"
    assert "[resolved, warning] Too many: client a. Lasted 1 min" in text(last)


def test_reminder_is_told_at_the_rules_interval(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, later: Later
) -> None:
    make_rule(remind_ms=150_000)
    make_channel()
    figures.met = {"client a": 3}
    for _ in range(5):
        evaluate()
        later(minutes=1)
    assert [event for _, lines in told() for event, _ in lines] == ["firing", "reminder"]


def test_silenced_rule_tells_nobody_and_its_alert_opens(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, later: Later
) -> None:
    silence(make_rule())
    make_channel()
    figures.met = {"client a": 3}
    evaluate()
    later(minutes=1)
    figures.met = {}
    evaluate()
    assert (told(), Alert.objects.get().state) == ([], "resolved")


def test_silence_of_a_subject_leaves_the_others(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures
) -> None:
    silence(make_rule(), "client a")
    make_channel()
    figures.met = {"client a": 3, "client b": 3}
    evaluate()
    assert told() == [("hook", [("firing", "client b")])]


def test_what_still_fires_is_told_when_a_silence_is_over(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, later: Later
) -> None:
    silence(make_rule(), minutes=3)
    make_channel()
    figures.met = {"client a": 3}
    numbers = []
    for _ in range(4):
        evaluate()
        numbers.append(len(told()))
        later(minutes=1)
    assert numbers == [0, 0, 0, 1]


def test_channel_takes_only_severities_from_its_lowest_on(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures
) -> None:
    make_rule(name="low", severity=Severity.WARNING)
    make_rule(name="high", severity=Severity.CRITICAL)
    make_channel(name="all")
    make_channel(name="worst", lowest_severity=Severity.CRITICAL)
    figures.met = {"client a": 3}
    evaluate()
    rules = {each.channel_name: [line["rule"] for line in each.lines] for each in Notification.objects.all()}
    assert rules == {"all": ["high", "low"], "worst": ["high"]}


def test_rule_tells_its_own_channels_only(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures
) -> None:
    make_rule(channels=["b"])
    make_channel(name="a")
    make_channel(name="b")
    figures.met = {"client a": 3}
    evaluate()
    assert [name for name, _ in told()] == ["b"]


def test_alert_is_told_once_a_channel_exists(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, later: Later
) -> None:
    make_rule()
    figures.met = {"client a": 3}
    evaluate()
    make_channel()
    later(minutes=1)
    evaluate()
    assert told() == [("hook", [("firing", "client a")])]


def test_recovery_goes_to_whom_the_alert_was_told(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, later: Later
) -> None:
    rule = make_rule(channels=["a"])
    make_channel(name="a")
    make_channel(name="b")
    figures.met = {"client a": 3}
    evaluate()
    Rule.objects.filter(pk=rule.pk).update(channels=["b"])
    later(minutes=1)
    figures.met = {}
    evaluate()
    assert told() == [("a", [("firing", "client a")]), ("a", [("resolved", "client a")])]


def test_text_of_a_message_cannot_be_markup(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures
) -> None:
    make_rule(name="<!channel> & <script>")
    make_channel()
    figures.met = {"client\n<b>": 3}
    evaluate()
    notification = Notification.objects.get()
    assert "<" not in json.loads(as_slack(notification))["text"]
    assert "&lt;!channel&gt; &amp; &lt;script&gt;" in json.loads(as_slack(notification))["text"]
    assert "\n" not in title(notification)


def test_links_need_the_address_of_the_console(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, settings: Any
) -> None:
    make_rule()
    make_channel()
    figures.met = {"client a": 3}
    evaluate()
    notification, alert = Notification.objects.get(), Alert.objects.get()
    assert "http" not in text(notification)
    settings.SANDBOX_CONSOLE_URL = "https://sandbox.example.com"
    assert f"https://sandbox.example.com/admin/alerts/alert/{alert.pk}/change/" in text(notification)


# --- Queueing and claiming ---


def queued() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT payload FROM django_q_ormq WHERE key = 'callbacks' ORDER BY id")
        return [payload for (payload,) in cursor.fetchall()]


def test_messages_to_one_host_are_bounded(make_channel: MakeChannel) -> None:
    for n in range(4):
        notifications.test(make_channel(name=f"hook {n}", url=f"https://example.com/{n}"), "user a")
    assert len(queued()) == 2


def test_notification_is_claimed_once(make_channel: MakeChannel) -> None:
    notification = notifications.test(make_channel(), "user a")
    assert notifications.take(notification.pk, 0) is not None
    assert notifications.take(notification.pk, 0) is None


def test_failed_attempt_is_repeated_and_given_up_at_last(
    make_rule: MakeRule, make_channel: MakeChannel, figures: Figures, later: Later
) -> None:
    make_rule()
    make_channel()
    figures.met = {"client a": 3}
    evaluate()
    pauses = []
    notification = Notification.objects.get()
    while notification.status == "pending":
        taken = notifications.take(notification.pk, notification.attempt_count)
        assert taken
        notifications.record(taken, timezone.now(), Answer(False, "503 Not a success status (2xx)."))
        notification.refresh_from_db()
        if notification.next_attempt_at:
            pauses.append((notification.next_attempt_at - timezone.now()).total_seconds())
    assert (notification.status, notification.attempt_count) == ("given_up", 7)
    assert all(later > 2 * before for before, later in zip(pauses, pauses[1:], strict=False))
    assert notification.attempts.count() == 7


def test_lost_task_is_queued_again(make_channel: MakeChannel, later: Later) -> None:
    notifications.test(make_channel(), "user a")
    assert notifications.enqueue_due() == 0
    later(minutes=6)
    assert notifications.enqueue_due() == 1


def test_oldest_notifications_of_a_full_channel_are_given_up(make_channel: MakeChannel) -> None:
    channel, now = make_channel(), timezone.now()
    made = [
        Notification(
            channel=channel, channel_name=channel.name, host=channel.host, created_at=now,
            next_attempt_at=now + timedelta(hours=1),
        )
        for _ in range(53)
    ]  # fmt: skip
    Notification.objects.bulk_create(made)
    notifications.enqueue_due()
    given_up = Notification.objects.filter(status="given_up").order_by("id")
    assert [each.pk for each in given_up] == [each.pk for each in made[:3]]


# --- Rules that are there from the start ---


def test_shipped_rules_are_created_once(db: None) -> None:
    created = shipped.create_missing()
    assert {"Keeper gone", "Queue too old", "Platform errors", "Seal missing"} <= set(created)
    assert shipped.create_missing() == []
    assert Rule.objects.filter(enabled=True).count() == len(created)


def test_deleted_and_changed_shipped_rules_stay_so(db: None) -> None:
    shipped.create_missing()
    Rule.objects.get(name="Pool empty").delete()
    Rule.objects.filter(name="Queue too old").update(enabled=False, name="Mine")
    shipped.create_missing()
    assert not Rule.objects.filter(name__in=["Pool empty", "Queue too old"]).exists()


@pytest.mark.usefixtures("db")
def test_shipped_rules_have_parameters_that_their_conditions_take() -> None:
    shipped.create_missing()
    for rule in Rule.objects.all():
        assert rule.watches is not None
        assert rule.watches.values(rule.parameters) == rule.parameters
