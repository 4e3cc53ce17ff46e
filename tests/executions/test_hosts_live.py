"""Two nodes on one Postgres: both run programs, one is drained, one dies, and nothing is lost.

Here both are on this machine, with a direct engine each: what one has is told from the other's by the node's name.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import requests
from django.test import override_settings

from sandboxes.engines import ENGINES
from tests.live import COMMANDS, ROOT, TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker

WORKERS = 2
# Longer than any test: such a run ends when it is cancelled, or with its node.
LONG_S = 250
SETTINGS = {
    "SANDBOX_WORKERS": str(WORKERS),
    "SANDBOX_EXECUTOR_MANAGER_POOL_SIZE": str(WORKERS),
    "SANDBOX_TIMEOUT": "5m",
}
# What a keeper does a few minutes later.
CLEAR = """
from datetime import timedelta
from sandboxes import nodes
nodes.DEAD_AFTER = timedelta(0)
from executions import dead_nodes
dead_nodes.clear()
"""


class Host:
    """Worker and keeper of a second node of the platform. It has the roles that a joined host gets, and no other."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.node = f"{platform.node}-b"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for name in ("worker", "keeper"):
            environment = self.platform.environment_of(name)
            ours = {"SANDBOX_NODE": self.node, "SANDBOX_SEAL_KEY_FILE": "", "SANDBOX_HEADS_FILE": ""}
            with (self.platform.folder / f"b-{name}.log").open("ab") as log:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, *COMMANDS[name]],
                        cwd=ROOT,
                        env=environment | ours,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )  # fmt: skip
                )
        eventually(lambda: self.pool()["ready"], "the second node has a warm sandbox", 120)

    def pool(self) -> Counter[str]:
        rows = self.platform.sql("SELECT state FROM executions_sandbox WHERE node = %s", self.node)
        return Counter(row["state"] for row in rows)

    def sandboxes(self) -> set[str]:
        with override_settings(SANDBOX_NODE=self.node):
            return {container.id for container in ENGINES[self.platform.engine]().containers()}

    def kill(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def stop(self) -> None:
        self.kill()
        with override_settings(SANDBOX_NODE=self.node):
            engine = ENGINES[self.platform.engine]()
            for container in engine.containers():
                engine.remove(container.id)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Host]]:
    platform = Platform(tmp_path_factory.mktemp("hosts"), roles=True, **SETTINGS)
    second = Host(platform)
    try:
        platform.start("python")
        second.start()
        yield platform, second
    finally:
        second.stop()
        platform.stop()


def submit(platform: Platform, number: int, seconds: float) -> list[str]:
    """Submit so many executions, and return their ids."""
    body = {"runtime": "python", "code": f"import time\ntime.sleep({seconds})"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    ids = []
    for _ in range(number):
        answer = requests.post(f"{platform.url}/api/v1/executions", json=body, headers=headers, timeout=30)
        assert answer.status_code in (200, 201, 202), answer.text
        ids.append(answer.json()["id"])
    return ids


def cancel(platform: Platform, ids: Iterable[str]) -> None:
    for one in ids:
        url = f"{platform.url}/api/v1/executions/{one}/cancel"
        answer = requests.post(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        assert answer.ok, answer.text


def rows(platform: Platform, ids: list[str]) -> list[dict[str, Any]]:
    return platform.sql("SELECT * FROM executions_execution WHERE id = ANY(%s::uuid[])", ids)


def by_node(platform: Platform, ids: list[str], status: str) -> Counter[str]:
    return Counter(row["node"] for row in rows(platform, ids) if row["status"] == status)


def all_ended(platform: Platform, ids: list[str]) -> list[dict[str, Any]]:
    eventually(lambda: all(row["finished_at"] for row in rows(platform, ids)), "all have ended", 120)
    return rows(platform, ids)


def test_both_run_programs_at_the_same_time_and_are_listed(hosts: tuple[Platform, Host]) -> None:
    platform, second = hosts
    ids = submit(platform, 2 * WORKERS, LONG_S)
    eventually(
        lambda: by_node(platform, ids, "running") == {platform.node: WORKERS, second.node: WORKERS},
        "each node runs as many as it has workers",
    )
    # Each node's keeper ends the sandboxes of its own cancelled runs.
    cancel(platform, ids)
    assert {row["status"] for row in all_ended(platform, ids)} == {"cancelled"}
    listed = platform.manage("node", "list", service="keeper")
    assert f"{platform.node}  alive" in listed and f"{second.node}  alive" in listed
    assert platform.engine in listed


def test_a_drained_node_finishes_its_run_takes_no_other_and_removes_its_pool(
    hosts: tuple[Platform, Host],
) -> None:
    platform, second = hosts
    before = submit(platform, 2 * WORKERS, 8)
    eventually(lambda: by_node(platform, before, "running")[second.node], "the second node runs one")
    platform.manage("node", "drain", second.node, service="keeper")
    after = submit(platform, 4, 0)
    ended = all_ended(platform, before + after)
    assert {row["status"] for row in ended} == {"succeeded"}
    assert by_node(platform, before, "succeeded")[second.node]
    assert by_node(platform, after, "succeeded") == {platform.node: 4}
    eventually(lambda: not second.pool() and not second.sandboxes(), "nothing of it is left on the host")
    platform.manage("node", "return", second.node, service="keeper")
    eventually(lambda: second.pool()["ready"], "it has a pool again")


def test_a_node_that_dies_loses_no_execution_and_leaves_nothing_behind(hosts: tuple[Platform, Host]) -> None:
    platform, second = hosts
    running, waiting = submit(platform, 2 * WORKERS, LONG_S), submit(platform, WORKERS, 0)
    eventually(
        lambda: len(platform.sql("SELECT id FROM executions_sandbox WHERE state = 'claimed'")) == 2 * WORKERS,
        "both nodes run programs, and others wait",
    )
    there = {str(row["id"]) for row in rows(platform, running) if row["node"] == second.node}
    assert len(there) == WORKERS
    second.kill()
    lost = all_ended(platform, sorted(there))
    assert {(row["outcome"], row["started"]) for row in lost} == {("worker_lost", True)}
    cancel(platform, set(running) - there)
    assert {row["status"] for row in all_ended(platform, waiting)} == {"succeeded"}
    assert {row["node"] for row in rows(platform, waiting)} == {platform.node}
    # They are not on the other node's host, so its keeper waits until this one is surely dead.
    assert second.pool()
    platform.manage("shell", "-v0", "-c", CLEAR, service="keeper")
    assert not second.pool()
    second.start()  # the other tests want it, in whatever order
