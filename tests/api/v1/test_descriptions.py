import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from inspections.models import Inspection
from runtimes.models import Runtime
from tests.api.v1.conftest import API
from tests.inspections.facts import facts


@pytest.fixture
def described(root: APIClient) -> Inspection:
    return Inspection.objects.create(
        kind="describe",
        state="done",
        runtime=Runtime.objects.get(slug="python"),
        finished_at=timezone.now(),
        image_id="sha256:0123",
        runtime_revision=1,
        details={"facts": facts(), "summary": ""},
    )


def test_a_caller_reads_version_and_packages(api: APIClient, described: Inspection) -> None:
    shown = api.get(f"{API}/runtimes/python/description").json()
    assert (shown["image_id"], shown["runtime_revision"]) == ("sha256:0123", 1)
    assert shown["version"] == "Python 3.13.5"
    assert shown["packages"]["pip"] == [["idna", "3.20"], ["numpy", "2.5.5"]]
    assert shown["facts"]["user"]["name"] == "nobody"
    assert "packages" not in shown["facts"]


def test_an_alias_will_do(root: APIClient, described: Inspection) -> None:
    assert root.get(f"{API}/runtimes/python3/description").status_code == 200


def test_a_runtime_that_was_not_described_has_none(root: APIClient) -> None:
    assert root.get(f"{API}/runtimes/python/description").status_code == 404
