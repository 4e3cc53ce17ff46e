"""The doctor says whether rules are evaluated, and whether somebody is told."""

import pytest
from django.utils import timezone
from pytest_django import Settings

from alerts import evaluation, shipped
from alerts.models import Channel, ChannelKind, Rule, RuleState
from sandbox_platform.doctor import Status, alerts
from sandbox_platform.kit.services import Service
from tests.sandbox_platform.acting import acting_as, made, there_are_roles  # noqa: F401 -- fixtures


@pytest.fixture
def watched(db: None) -> None:
    shipped.create_missing()
    for service in (Service.KEEPER, Service.CALLBACKS):
        evaluation.evaluate(service)


@pytest.mark.usefixtures("watched")
def test_alerts_that_nobody_hears_of_are_a_warning() -> None:
    check = alerts.alerts("alerts")
    assert (check.status, check.detail) == (Status.WARNING, "nobody is told: no channel is enabled")


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("configured, status", [(True, Status.OK), (False, Status.WARNING)])
def test_mail_needs_a_server(settings: Settings, configured: bool, status: Status) -> None:
    settings.SANDBOX_MAIL_CONFIGURED = configured
    Channel.objects.create(name="mail", kind=ChannelKind.MAIL, recipients=["a@example.com"])
    with acting_as(Service.WORKER):
        check = alerts.alerts("alerts")
    assert check.status == status
    assert configured or "EMAIL_HOST" in check.fix


@pytest.mark.usefixtures("watched")
def test_rules_that_nobody_evaluates_are_a_warning() -> None:
    rule = Rule.objects.get(name="Queue too old")
    RuleState.objects.filter(rule=rule).update(evaluated_at=timezone.now() - 2 * evaluation.STALE)
    check = alerts.alerts("alerts")
    assert (check.status, check.detail) == (
        Status.WARNING,
        "not watched: not evaluated for 5 minutes: Queue too old",
    )
