"""A real program, watched while it runs, and the callback of its end."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.executions.callbacks.conftest import Receiver, receiver
from tests.executions.callbacks.test_signing import documented_check
from tests.live import TOKEN, Platform, eventually

__all__ = ["receiver"]
pytestmark = pytest.mark.needs_docker

# Six seconds, so that on a busy machine a watcher comes, goes and comes again while it runs.
PRINTS = """
import time
def main():
    for number in range(20):
        print("line", number, "ä")
        time.sleep(0.3)
"""

SUBMIT = """
from executions import services
from clients.models import Client
from runtimes.models import Runtime
request = services.Request(
    runtime=Runtime.objects.get(slug="python"),
    code="def main():\\n    print('hello')\\n    return 1",
    endpoint="api",
    callback_url="{url}",
    client=Client.objects.earliest("pk"),
)
print(services.submit(request, policy="off").pk)
"""
SECRET = """
from executions.callbacks import signing
from clients.models import Client
print(signing.secret_of(Client.objects.earliest("pk")))
"""


def watch(
    platform: Platform, execution_id: str, last: str = ""
) -> Iterator[tuple[float, str, str, dict[str, Any]]]:
    """When each event came, its id, name and data."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/event-stream"}
    if last:
        headers["Last-Event-ID"] = last
    url = f"{platform.url}/api/v1/executions/{execution_id}/events"
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        assert response.status_code == 200, response.text
        fields: dict[str, str] = {}
        for line in response.iter_lines(chunk_size=1, decode_unicode=True):
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                yield time.time(), fields["id"], fields["event"], json.loads(fields["data"])
                fields = {}


def until_output(platform: Platform, execution_id: str, last: str = "") -> tuple[str, str]:
    """The next piece of output and its event's id; then the watcher hangs up."""
    return next(
        (data["text"], event_id)
        for _, event_id, name, data in watch(platform, execution_id, last)
        if name == "stdout"
    )


def start(platform: Platform, code: str) -> tuple[str, threading.Thread]:
    """The execution's id as soon as it runs, and the caller who waits for it."""
    before = {row["id"] for row in platform.sql("SELECT id FROM executions_execution")}
    caller = threading.Thread(target=platform.run, args=(code,))
    caller.start()

    def running() -> list[dict[str, Any]]:
        rows = platform.sql("SELECT id FROM executions_execution WHERE status = 'running'")
        return [row for row in rows if row["id"] not in before]

    return str(eventually(running, "it runs")[0]["id"]), caller


def test_a_program_is_seen_while_it_runs(platform: Platform) -> None:
    execution_id, caller = start(platform, PRINTS)
    events = list(watch(platform, execution_id))
    caller.join()
    outputs = [(at, data["text"]) for at, _, name, data in events if name == "stdout"]
    row = platform.sql("SELECT stdout, finished_at FROM executions_execution WHERE id = %s", execution_id)[0]
    assert "".join(text for _, text in outputs) == row["stdout"]
    early = [at for at, _ in outputs if at < row["finished_at"].timestamp()]
    assert len(early) >= 2
    assert [data["status"] for _, _, name, data in events if name == "status"] == [
        "queued",
        "running",
        "succeeded",
    ]
    assert [name for _, _, name, _ in events][-1] == "end"


def test_resuming_during_the_run_and_after_it_loses_and_repeats_nothing(platform: Platform) -> None:
    execution_id, caller = start(platform, PRINTS)
    first, last = until_output(platform, execution_id)
    second, last = until_output(platform, execution_id, last)
    caller.join()
    rest = [data["text"] for _, _, name, data in watch(platform, execution_id, last) if name == "stdout"]
    row = platform.sql("SELECT stdout FROM executions_execution WHERE id = %s", execution_id)[0]
    assert first + second + "".join(rest) == row["stdout"]
    assert second


def test_a_short_run_writes_no_chunks(platform: Platform) -> None:
    platform.run("def main():\n    print('quick')")
    execution_id = platform.last_execution()["id"]
    assert not platform.sql("SELECT 1 FROM executions_outputchunk WHERE execution_id = %s", execution_id)


def test_the_callback_of_a_real_run_arrives(platform: Platform, receiver: Receiver) -> None:
    platform._environment["SANDBOX_CALLBACK_NETWORKS"] = "127.0.0.1/32"
    platform.spawn("callbacks")
    try:
        # As the API does it: by services.submit, in a process of the platform.
        execution_id = platform.manage("shell", "-c", SUBMIT.format(url=receiver.url)).split()[-1]
        got = eventually(lambda: receiver.received, "the callback")[0]
        status = "SELECT status FROM executions_delivery WHERE execution_id = %s"
        eventually(lambda: platform.sql(status, execution_id)[0]["status"] == "delivered", "its row says so")
    finally:
        platform.kill("callbacks")
    told = json.loads(got.body)["data"]
    assert (told["id"], told["status"], told["stdout"], told["result"]) == (
        execution_id, "succeeded", "hello\n", 1,
    )  # fmt: skip
    secret = platform.manage("shell", "-c", SECRET).split()[-1]
    assert documented_check()(secret, got.headers, got.body)
    assert len(receiver.received) == 1
