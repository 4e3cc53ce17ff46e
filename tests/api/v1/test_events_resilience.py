"""A stream of events, watched while the parts it comes through die: nothing is missed and nothing comes twice."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker

LINES = 40
COUNTS = f"import time\nfor i in range({LINES}):\n    print(i, flush=True)\n    time.sleep(0.1)"
EXPECTED = "".join(f"{i}\n" for i in range(LINES))
AWAY_S = 13  # longer than the web process waits for a connection; the program ends meanwhile
ENOUGH = 5  # events, and it is in the midst of it


class Watcher:
    """As a browser's EventSource: comes back with the id of the last event it saw."""

    def __init__(self, platform: Platform, execution_id: str) -> None:
        self._url = f"{platform.url}/api/v1/executions/{execution_id}/events"
        self.last_id = ""
        self.stdout = ""
        self.statuses: list[str] = []
        self.over = False

    def events(self) -> Iterator[tuple[str, Any]]:
        """Of one connection, until it ends."""
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        with requests.get(self._url, headers=headers, stream=True, timeout=60) as answer:
            answer.raise_for_status()
            fields: dict[str, str] = {}
            for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                name, _, value = line.partition(": ")
                fields[name] = value
                if not line and "data" in fields:
                    yield self._seen(fields)
                    fields = {}

    def _seen(self, fields: dict[str, str]) -> tuple[str, Any]:
        self.last_id, name, data = fields["id"], fields["event"], json.loads(fields["data"])
        if name == "stdout":
            self.stdout += data["text"]
        elif name == "status":
            self.statuses.append(data["status"])
        self.over = name == "end"
        return name, data


@pytest.fixture(scope="module")
def module_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = Platform(tmp_path_factory.mktemp("events"), SANDBOX_TIMEOUT="20s")
    try:
        running.start("python")
        yield running
    finally:
        running.stop()


@pytest.fixture
def private_platform(module_platform: Platform) -> Platform:
    """Whole again, after the test before broke it."""
    module_platform.until_ready()
    return module_platform


@pytest.fixture
def watcher(private_platform: Platform) -> Watcher:
    answer = requests.post(
        f"{private_platform.url}/api/v1/executions",
        json={"runtime": "python", "code": COUNTS},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=30,
    )
    return Watcher(private_platform, answer.json()["id"])


def see_some(events: Iterator[tuple[str, Any]]) -> None:
    for _ in range(ENOUGH):
        next(events)


def resume(watcher: Watcher, events: Iterator[tuple[str, Any]]) -> int:
    """Watches to the end, and says how often it had to come back."""
    returns = 0
    deadline = time.monotonic() + 90
    while not watcher.over:
        assert time.monotonic() < deadline
        try:
            for _ in events:
                pass
        except requests.RequestException:
            time.sleep(0.5)
        if not watcher.over:
            returns += 1
            events = watcher.events()
    return returns


def assert_complete(watcher: Watcher) -> None:
    assert watcher.stdout == EXPECTED
    assert watcher.statuses == ["queued", "running", "succeeded"]


def test_stream_outlives_a_restart_of_postgres(private_platform: Platform, watcher: Watcher) -> None:
    events = watcher.events()
    see_some(events)
    # The test's Postgres commits asynchronously: what is to survive has to be written.
    private_platform.sql("CHECKPOINT")
    private_platform.postgres.stop()
    time.sleep(AWAY_S)
    private_platform.postgres.start()
    assert resume(watcher, events) == 0
    assert_complete(watcher)


def test_watcher_resumes_after_the_web_process_died(private_platform: Platform, watcher: Watcher) -> None:
    events = watcher.events()
    see_some(events)
    private_platform.kill("web")
    private_platform.spawn("web")
    assert resume(watcher, events) >= 1
    assert_complete(watcher)


def test_watcher_resumes_when_postgres_was_away_as_he_came_back(
    private_platform: Platform, watcher: Watcher
) -> None:
    events = watcher.events()
    see_some(events)
    private_platform.sql("CHECKPOINT")
    private_platform.postgres.stop()
    private_platform.kill("web")
    private_platform.spawn("web")
    time.sleep(3)
    private_platform.postgres.start()
    assert resume(watcher, events) >= 1
    assert_complete(watcher)
