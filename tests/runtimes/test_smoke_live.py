"""Every shipped runtime's smoke programs, through the API, in real sandboxes.

Those of the core set, or what SANDBOX_TEST_RUNTIMES says: `all`, or names separated by commas. Their images
must be built: `make build RUNTIMES=all`.
"""

from typing import Any

import pytest
import requests

from runtimes import smoke
from tests.images.chosen import chosen
from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker

WAIT_S = 120


PROGRAMS = [
    pytest.param(manifest.slug, program, id=f"{manifest.slug}-{program['name']}")
    for manifest in chosen()
    for program in manifest.fields["smoke"]
]


def post(platform: Platform, body: dict[str, Any]) -> dict[str, Any]:
    answer = requests.post(
        f"{platform.url}/api/v1/executions",
        json={**body, "wait": WAIT_S},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=WAIT_S + 10,
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def artifacts_of(platform: Platform, execution: dict[str, Any]) -> list[str]:
    url = f"{platform.url}/api/v1/executions/{execution['id']}/artifacts"
    answer = requests.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    return [artifact["name"] for artifact in answer.json()]


@pytest.mark.parametrize(("slug", "program"), PROGRAMS)
def test_smoke_program_ends_as_its_manifest_says(platform: Platform, slug: str, program: dict[str, Any]) -> None:
    execution = post(platform, smoke.submission(program, slug))
    found = smoke.disagreements(program, execution, artifacts_of(platform, execution))
    assert not found, (found, execution["message"], execution["stderr"][:2000])
