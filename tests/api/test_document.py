"""The OpenAPI document costs its callers' neighbours nothing."""

import pytest
from django.conf import settings
from django.test import Client as Http
from drf_spectacular.generators import SchemaGenerator

pytestmark = pytest.mark.django_db


def test_it_is_made_once_and_no_caller_changes_it(client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.get("/openapi.json?version=9&lang=de")
    assert first.json()["info"]["version"] == settings.VERSION
    monkeypatch.delattr(SchemaGenerator, "get_schema")
    assert client.get("/openapi.json").content == first.content
