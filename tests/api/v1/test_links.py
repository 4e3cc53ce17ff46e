from typing import Any

import pytest
from rest_framework.test import APIClient

from api.v1.links import LINKS, Link


@pytest.fixture
def operations(api: APIClient) -> dict[str, Any]:
    """Of the served schema, by their ids."""
    paths = api.get("/openapi.json").json()["paths"]
    return {operation["operationId"]: operation for methods in paths.values() for operation in methods.values()}


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.source)
def test_every_success_of_the_source_leads_to_the_targets(operations: dict[str, Any], link: Link) -> None:
    answers = operations[link.source]["responses"]
    successes = [answer for status, answer in answers.items() if status < "203"]
    assert successes
    for answer in successes:
        assert {link_.get("operationId") for link_ in answer["links"].values()} >= set(link.targets)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.source)
def test_link_fills_every_part_of_the_targets_path(operations: dict[str, Any], link: Link) -> None:
    for target in link.targets:
        in_path = {p["name"] for p in operations[target]["parameters"] if p["in"] == "path"}
        assert in_path == set(link.parameters)
