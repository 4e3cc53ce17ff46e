"""One client's burst and another's single run, with real workers."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live import Platform, eventually

pytestmark = pytest.mark.needs_docker

WORKERS = 2
BURST = 16
CODE = base64.b64encode(b"import time\ndef main(): time.sleep(1)").decode()
CLIENTS = "from clients.models import Client\nfor name in 'ab': Client.objects.create_with_token(name, name * 32)"
STARTED_BEFORE_B = """
    SELECT count(*)
    FROM executions_execution a JOIN executions_client ca ON ca.id = a.client_id AND ca.name = 'a',
         executions_execution b JOIN executions_client cb ON cb.id = b.client_id AND cb.name = 'b'
    WHERE a.claimed_at > b.queued_at AND a.claimed_at < b.claimed_at
"""


@pytest.fixture
def few_workers(tmp_path: Path) -> Iterator[Platform]:
    running = Platform(tmp_path, SANDBOX_WORKERS=str(WORKERS))
    try:
        running.start("python")
        running.manage("shell", "-c", CLIENTS)
        yield running
    finally:
        running.stop()


def test_burst_delays_a_single_run_by_one_run_a_worker_at_most(few_workers: Platform) -> None:
    def call(name: str) -> str:
        answer = few_workers.post({"code_b64": CODE}, Authorization=f"Bearer {name * 32}")
        return str(answer.json()["status"])

    with ThreadPoolExecutor(BURST) as callers:
        burst = [callers.submit(call, "a") for _ in range(BURST)]
        in_queue = "SELECT count(*) FROM executions_execution"
        eventually(lambda: few_workers.sql(in_queue)[0]["count"] == BURST, "the burst is queued")
        single = call("b")
        open_then = few_workers.sql("SELECT count(*) FROM executions_execution WHERE finished_at IS NULL")
        assert {future.result() for future in burst} == {single} == {"success"}
    # Otherwise the burst had ended before, and nothing was put to the test.
    assert open_then[0]["count"] > WORKERS
    assert few_workers.sql(STARTED_BEFORE_B)[0]["count"] <= WORKERS
