"""kill -9 of dockerd in mid-run."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live import Platform, eventually
from tests.private_docker import PrivateDocker, private_docker

pytestmark = pytest.mark.needs_docker

SLEEPS = "import time\ndef main():\n    time.sleep(20)\n    return 'slept'"
QUICK = "def main(): return 'quick'"


@pytest.fixture
def engine() -> Iterator[PrivateDocker]:
    with private_docker() as engine:
        yield engine


@pytest.fixture
def platform(tmp_path: Path, engine: PrivateDocker) -> Iterator[Platform]:
    running = Platform(
        tmp_path,
        DOCKER_HOST=engine.host,
        SANDBOX_ENGINE="docker",
        SANDBOX_TIMEOUT="30s",
    )
    try:
        running.start("python")
        yield running
    finally:
        running.stop()


def test_killed_dockerd_ends_its_executions_and_leaves_nothing(platform: Platform, engine: PrivateDocker) -> None:
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(platform.run, SLEEPS)
        eventually(lambda: platform.sql("SELECT 1 FROM executions_sandbox WHERE state = 'claimed'"), "it runs")
        before = {container.id for container in platform.containers()}
        engine.kill()
        engine.start()
        assert answer.result(120)["stderr"]
    assert platform.last_execution()["status"] == "platform_error"
    assert platform.run(QUICK)["result"]["value"] == "quick"
    assert platform.sql("SELECT count(*) AS n FROM executions_execution")[0]["n"] == 2

    def only_warm_ones_are_left() -> bool:
        rows = platform.sql("SELECT container_id, state FROM executions_sandbox")
        containers = {container.id for container in platform.containers()}
        warm = {row["container_id"] for row in rows if row["state"] == "ready"}
        return bool(warm) and len(rows) == len(warm) and containers == warm and not containers & before

    eventually(only_warm_ones_are_left, "the killed daemon's containers are gone", 120)
