"""GET /api/v1/alerts: what fires now and the history, for whoever sees everything."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from alerts.models import Alert, Rule, RuleState, Silence
from clients.models import Client, Role
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API
from tests.conftest import Visitor
from tests.pages import cells

ALERTS = f"{API}/alerts"
Make = Callable[..., Alert]


@pytest.fixture
def rule(db: None) -> Rule:
    rule = Rule.objects.create(name="Queue too old", condition="queue_age", severity="warning")
    RuleState.objects.create(rule=rule, evaluated_at=timezone.now())
    return rule


@pytest.fixture
def alert(rule: Rule) -> Make:
    def make(state: str = "firing", **given: Any) -> Alert:
        now = timezone.now()
        times = {
            "pending": {},
            "firing": {"fired_at": now},
            "resolved": {"fired_at": now, "resolved_at": now, "resolution": "no longer met"},
        }
        plain = {"rule": rule, "rule_name": rule.name, "condition": rule.condition, "severity": rule.severity}
        subject = f"node {Alert.objects.count()}"
        values = {"value": 90_000, "subject": subject, "since": now, "state": state}
        return Alert.objects.create(**plain | values | times[state] | given)

    return make


def rows(api: APIClient, **query: Any) -> list[dict[str, Any]]:
    response = api.get(ALERTS, query)
    assert response.status_code == 200, response.content
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def subjects(api: APIClient, **query: Any) -> list[str]:
    return [row["subject"] for row in rows(api, **query)]


def test_what_an_alert_tells(root: APIClient, alert: Make) -> None:
    made = alert(subject="client a", detail="It waits.", notified_at=timezone.now())
    (row,) = rows(root)
    for name in ("since", "fired_at", "notified_at"):
        assert row.pop(name) == getattr(made, name).isoformat().replace("+00:00", "Z")
    assert row == {
        "id": made.pk, "rule": "Queue too old", "condition": "queue_age", "severity": "warning",
        "subject": "client a", "state": "firing", "value": 90_000, "value_text": made.value_words,
        "detail": "It waits.", "resolved_at": None, "resolution": "", "silenced_until": None,
        "url": reverse("admin:alerts_alert_change", args=[made.pk]),
    }  # fmt: skip


def test_it_has_those_of_the_page(root: APIClient, alert: Make, visitor: Visitor) -> None:
    for state in ("resolved", "pending", "firing"):
        alert(state)
    page = visitor("auditor").get(reverse("admin:alerts_alert_changelist")).content.decode()
    assert sorted(cells(page, "about")) == sorted(subjects(root)) == ["node 0", "node 1", "node 2"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["d", "c", "b", "a"]),
        ({"state": "firing"}, ["d", "a"]),
        ({"state": "pending"}, ["b"]),
        ({"state": "resolved"}, ["c"]),
        ({"severity": "critical"}, ["d"]),
        ({"rule": "Queue too old"}, ["d", "c", "b", "a"]),
        ({"rule": "Queue"}, []),
        ({"condition": "disk_low"}, ["c"]),
        ({"subject": "b"}, ["b"]),
        ({"since_before": "2026-01-02T00:00:00Z"}, ["a"]),
        ({"since_after": "2026-01-02T00:00:00Z"}, ["d", "c", "b"]),
    ],
)
def test_filters(root: APIClient, alert: Make, query: dict[str, str], found: list[str]) -> None:
    alert(subject="a", since="2026-01-01T00:00:00Z")
    alert("pending", subject="b")
    alert("resolved", subject="c", condition="disk_low")
    alert(subject="d", severity="critical")
    assert subjects(root, **query) == found


def test_pages_have_each_alert_once(root: APIClient, alert: Make) -> None:
    for _ in range(5):
        alert()
    found, query = [], {"limit": "2", "state": "firing"}
    while query:
        page = root.get(ALERTS, query).json()
        found.append([row["subject"] for row in page["results"]])
        alert()  # new ones come before
        following = parse_qs(urlsplit(page["next"] or "").query)
        query = {name: values[0] for name, values in following.items()}
        assert not query or query["state"] == "firing"
    assert found == [["node 4", "node 3"], ["node 2", "node 1"], ["node 0"]]


def test_it_says_until_when_one_is_silenced(root: APIClient, alert: Make, rule: Rule) -> None:
    alert(subject="a")
    alert(subject="b")
    alert("resolved", subject="a")
    until = timezone.now() + timedelta(hours=1)
    Silence.objects.create(rule=rule, subject="a", until=until, reason="known", created_by="ops")
    silenced = [row["silenced_until"] for row in rows(root)]
    assert silenced == [None, None, until.isoformat().replace("+00:00", "Z")]


def test_it_says_what_is_not_watched(root: APIClient, rule: Rule) -> None:
    assert root.get(ALERTS).json()["unwatched"] == ""
    RuleState.objects.update(evaluated_at=timezone.now() - timedelta(hours=1))
    assert "Queue too old" in root.get(ALERTS).json()["unwatched"]


@pytest.mark.parametrize(("role", "status"), [(Role.AUDITOR, 200), (Role.ADMINISTRATOR, 200), (Role.CALLER, 403)])
def test_who_may_read_them(db: None, role: Role, status: int) -> None:
    _, token = Client.objects.create_with_token("one", role=role)
    api = ConformingClient(headers={"Authorization": f"Bearer {token}"})
    assert api.get(ALERTS).status_code == status
    assert APIClient().get(ALERTS).status_code == 401


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "broken"}, "state"), ({"severity": "high"}, "severity"), ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"), ({"cursor": "x"}, "cursor"), ({"cursor": "YWxlcnQgeA"}, "cursor"),
        ({"cursor": "YWxlcnQgOTk5OTk5OTk5OTk5OTk5OTk5OTk5"}, "cursor"), ({"since_after": "then"}, "since_after"),
        ({"firing": "true"}, "firing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(root: APIClient, query: dict[str, Any], field: str) -> None:
    response = root.get(ALERTS, query)
    assert (response.status_code, response.json()["field"]) == (422, field)


def test_it_takes_few_queries(
    root: APIClient, alert: Make, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    for _ in range(3):
        alert()
    with django_assert_max_num_queries(8):
        assert len(rows(root)) == 3
