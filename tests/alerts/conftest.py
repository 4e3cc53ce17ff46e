from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.utils import timezone
from pytest_django import Settings

from alerts import evaluation, shipped, tasks
from alerts.models import Alert, AlertState, Channel, ChannelKind, Notification, Rule
from sandbox_platform.kit import conditions
from sandbox_platform.kit.conditions import Condition, Finding, Parameter
from sandbox_platform.kit.services import Service
from tests.executions.callbacks.conftest import Receiver, loopback_allowed, receiver
from tests.live import free_port

__all__ = ["Receiver", "loopback_allowed", "receiver"]

Later = Callable[..., None]
Watch = Callable[..., Callable[[], list[str]]]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Lets time pass: `later(minutes=5)`."""
    real, passed = timezone.now, [timedelta(0)]

    def pass_time(**time: float) -> None:
        passed[0] += timedelta(**time)

    monkeypatch.setattr(timezone, "now", lambda: real() + passed[0])
    return pass_time


@dataclass
class Figures:
    """What the condition of the tests reads: each subject that meets it, with its value."""

    met: dict[str, float] = field(default_factory=dict)
    fails: bool = False

    def evaluate(self, values: dict[str, Any]) -> Iterator[Finding]:
        if self.fails:
            raise ZeroDivisionError("a text that may hold a row")
        for subject, value in self.met.items():
            if value >= values["least"]:
                yield Finding(subject, value, f"It is {value:g}.", "/admin/pool/")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch, db: None) -> Figures:
    """A condition of this test, named `of_the_test`, which the keeper evaluates."""
    monkeypatch.setattr(conditions, "_declared", dict(conditions.declared()))
    figures = Figures()
    least = Parameter("least", "At least", 1, 0, 100)
    conditions.declare(Condition("of_the_test", "Of the test", "", figures.evaluate, (least,), "pieces"))
    return figures


@pytest.fixture
def make_rule(figures: Figures) -> Callable[..., Rule]:
    def make(**values: Any) -> Rule:
        return Rule.objects.create(
            **{"name": "Too many", "condition": "of_the_test", "recover_ms": 0, "remind_ms": 0} | values
        )

    return make


@pytest.fixture
def make_channel(db: None) -> Callable[..., Channel]:
    def make(**values: Any) -> Channel:
        webhook = {"name": "hook", "kind": ChannelKind.WEBHOOK, "url": "https://example.com/hook?token=abc"}
        return Channel.objects.create(**webhook | values)

    return make


def evaluate(service: Service = Service.KEEPER) -> int:
    return evaluation.evaluate(service)


def states() -> dict[str, str]:
    return {alert.subject: alert.state for alert in Alert.objects.order_by("id")}


def firing(rule: Rule | None = None) -> list[str]:
    found = Alert.objects.filter(state=AlertState.FIRING)
    return sorted((found.filter(rule=rule) if rule else found).values_list("subject", flat=True))


def send_all() -> list[Notification]:
    """What the callbacks service does with the queue, as it stands."""
    for notification in Notification.objects.filter(status="pending", in_flight_since__isnull=False):
        tasks.send(notification.pk, notification.attempt_count)
    return list(Notification.objects.order_by("id"))


@pytest.fixture
def watch(db: None, later: Later) -> Watch:
    """Only this shipped rule, with other parameters if need be, and no waiting. Each call evaluates it."""

    def start(name: str, **parameters: Any) -> Callable[[], list[str]]:
        shipped.create_missing()
        Rule.objects.exclude(name=name).delete()
        rule = Rule.objects.get()
        rule.pending_ms = rule.recover_ms = 0
        rule.parameters |= parameters
        rule.save()
        condition = conditions.declared()[rule.condition]

        def fires() -> list[str]:
            later(minutes=1)
            assert evaluate(condition.evaluated_by) == 1
            rule.refresh_from_db()
            assert rule.state.error == ""
            return firing(rule)

        return fires

    return start


@dataclass
class MailServer:
    """A real SMTP server on loopback. `refuses`: reply to DATA, or to RCPT for an address."""

    port: int = 0
    received: list[Any] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if "DATA" in self.refuses:
            return self.refuses["DATA"]
        self.received.append(envelope)
        return "250 2.0.0 Ok: queued as 4XyZ"


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[MailServer]:
    server = MailServer()
    controller = Controller(server, hostname="127.0.0.1", port=free_port())
    controller.start()
    server.port = controller.port
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.SANDBOX_MAIL_CONFIGURED = True
    settings.DEFAULT_FROM_EMAIL = "platform@example.com"
    yield server
    controller.stop()
