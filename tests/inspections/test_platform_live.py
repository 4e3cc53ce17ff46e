"""Through web, queue and worker: what a caller of a filtered runtime sees."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.live import TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker

UNSHARE = "import os\nos.unshare(os.CLONE_NEWUSER)\n"


def call(platform: Platform, method: str, path: str, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.request(method, f"{platform.url}/api/v1{path}", headers=headers, timeout=60, **options)
    assert answer.ok, answer.text
    return answer.json()


@pytest.fixture
def filtered(platform: Platform) -> Iterator[None]:
    profile = platform.sql("SELECT id FROM seccomp_profiles_seccompprofile WHERE name = 'default'")[0]["id"]
    platform.change_runtime("python", seccomp_profile_id=profile)
    yield
    platform.change_runtime("python", seccomp_profile_id=None)


def test_a_caller_learns_which_call_was_refused(platform: Platform, filtered: None) -> None:
    wanted = {"runtime": "python", "code": UNSHARE, "wait": 30}
    execution = call(platform, "POST", "/executions", json=wanted)
    assert execution["status"] == "failed", execution
    path = f"/executions/{execution['id']}"
    call(platform, "POST", f"{path}/explain-syscalls")

    def told() -> Any:
        refused = call(platform, "GET", path)["refused_calls"]
        return refused if refused["state"] not in ("queued", "running") else None

    refused = eventually(told, "the trace is made")
    assert refused["refused"] == [{"name": "unshare", "times": 1}], refused
    assert "unshare" in refused["summary"]
