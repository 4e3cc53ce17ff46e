import csv
import json
from io import StringIO
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from clients.models import Client, Role
from runtimes.models import Runtime
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API

EXPORT = f"{API}/audit-trail/export"


@pytest.fixture
def auditor(api: APIClient) -> APIClient:
    _, token = Client.objects.create_with_token("auditor", role=Role.AUDITOR)
    return ConformingClient(headers={"Authorization": f"Bearer {token}"})


def rows(api: APIClient, **query: str) -> list[dict[str, Any]]:
    answer = api.get(EXPORT, {"format": "jsonl"} | query)
    assert answer.status_code == 200, answer.content
    return [json.loads(line) for line in answer.getvalue().decode().splitlines()]


def problem(api: APIClient, **query: str) -> tuple[int, str, str]:
    answer = api.get(EXPORT, query)
    return answer.status_code, answer["Content-Type"], answer.json()["field"]


def test_auditor_and_administrator_read_it(auditor: APIClient, root: APIClient) -> None:
    for caller in (auditor, root):
        assert "runtime python" in {row["object"] for row in rows(caller)}


def test_callers_do_not(api: APIClient) -> None:
    answer = api.get(EXPORT)
    assert answer.status_code == 403
    assert answer["Content-Type"] == "application/problem+json"
    assert "auditor or administrator" in answer.json()["detail"]


def test_whoever_has_no_token_does_not(api: APIClient, settings: Settings) -> None:
    assert ConformingClient().get(EXPORT).status_code == 401
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True
    assert ConformingClient().get(EXPORT).status_code == 403


def test_csv_is_the_default(auditor: APIClient) -> None:
    answer = auditor.get(EXPORT)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="audit-trail.csv"'
    lines = list(csv.DictReader(StringIO(answer.getvalue().decode())))
    assert ("runtime python", "slug", "python") in {
        (line["object"], line["column"], line["after"]) for line in lines
    }


@pytest.mark.parametrize(
    ("query", "objects"),
    [
        ({"object": "runtimes.Runtime"}, {"runtime python"}),
        ({"object": "clients.Client", "q": "AUDITOR"}, {"client auditor"}),
        ({"change": "delete"}, set()),
        ({"change": "insert", "object": "runtimes.Runtime"}, {"runtime python"}),
        ({"who": "nobody at all"}, set()),
        ({"who": "sandbox", "object": "runtimes.Runtime"}, {"runtime python"}),
        ({"changed_after": "2999-01-01T00:00:00Z"}, set()),
        ({"changed_before": "2000-01-01T00:00:00Z"}, set()),
        ({"object_id": "no such"}, set()),
    ],
)
def test_filters(auditor: APIClient, query: dict[str, str], objects: set[str]) -> None:
    assert {row["object"] for row in rows(auditor, **query)} == objects


def test_object_id_finds_one(auditor: APIClient, python_runtime: Runtime) -> None:
    found = rows(auditor, object="runtimes.Runtime", object_id=str(python_runtime.pk))
    assert {row["object_id"] for row in found} == {str(python_runtime.pk)}


@pytest.mark.parametrize(
    "query",
    [
        {"format": "xml"},
        {"object": "auth.User"},
        {"change": "rename"},
        {"changed_after": "yesterday"},
        {"who": ""},
        {"who": "a\0b"},
        {"q": "x" * 201},
        {"nonsense": "1"},
    ],
)
def test_a_wrong_filter_is_named(auditor: APIClient, query: dict[str, str]) -> None:
    assert problem(auditor, **query) == (422, "application/problem+json", next(iter(query)))


def test_nothing_of_a_token_is_told(auditor: APIClient) -> None:
    answer = auditor.get(EXPORT, {"object": "clients.Token"})
    assert "fingerprint" in answer.getvalue().decode()
