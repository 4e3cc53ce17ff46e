"""A node as it is in a pod: one container without Docker, with the rights that docs/kubernetes.md lists."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts import embedded_postgres
from tests import database
from tests.live import ROOT, Platform, eventually
from tests.sandboxes import contained
from tests.sandboxes.contained import group

__all__ = ["group"]
pytestmark = [pytest.mark.needs_docker, pytest.mark.timeout(300)]
IMAGE = "sandbox-platform/runtime-python:latest"
CAPABILITIES = ("sys_admin", "setfcap", "setuid", "setgid", "kill", "chown", "dac_override", "fowner", "fsetid")
PATIENCE_S = 120


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    subprocess.run(["docker", "save", "-o", folder / "runtime-python.tar", IMAGE], check=True)
    return folder


@pytest.fixture
def platform(tmp_path: Path, archives: Path) -> Iterator[Platform]:
    """Database and web; the node is an agent."""
    running = Platform(
        tmp_path,
        roles=True,
        SANDBOX_ENGINE="direct",
        SANDBOX_IMAGE_SOURCE="archive",
        SANDBOX_IMAGE_ARCHIVES=str(archives),
        SANDBOX_RUN_DIR=str(tmp_path / "run"),
        SANDBOX_IMAGE_DIR=str(tmp_path / "images"),
        SANDBOX_WORKERS="2",
        SANDBOX_TIMEOUT="20s",
    )
    running.postgres = database.bootstrapped(tmp_path, running.seeds)
    running.postgres.start()
    running.sql("UPDATE runtimes_runtime SET enabled = slug = 'python'")
    running.manage("grant_roles")
    running.spawn("web")
    yield running
    for name in list(running.processes):
        running.kill(name)
    running.postgres.stop()


@pytest.fixture
def agent(platform: Platform, group: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = platform.environment | {
        "DATABASE_URL": f"postgresql://127.0.0.1:{platform.postgres.port}/{embedded_postgres.DATABASE}",
        "SANDBOX_SERVICE": "keeper",
        "SANDBOX_CGROUP_PARENT": "auto",
        "SANDBOX_ALIVE_DIR": str(tmp_path),
        "DOCKER_HOST": "unix:///nonexistent",
    }
    rights = ["setpriv", f"--bounding-set=-all,{','.join(f'+{name}' for name in CAPABILITIES)}"]
    container = contained.command(group, "--pid", "--fork", "--mount-proc", "--kill-child")
    with open(tmp_path / "agent.log", "wb") as log:
        process = subprocess.Popen(
            [*container, *rights, sys.executable, "manage.py", "agent"],
            cwd=ROOT, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    yield process
    process.kill()
    process.wait()
    eventually(lambda: not processes_in(group), "the container has ended")


def processes_in(group: str) -> list[str]:
    return [
        pid
        for top in contained.tops()
        for path in (top / group).rglob("cgroup.procs")
        for pid in path.read_text().split()
    ]


def test_node_without_docker_runs_programs_and_stops_without_losing_one(
    platform: Platform, agent: subprocess.Popen[bytes], group: str, tmp_path: Path
) -> None:
    platform.until_ready()
    answer = platform.run("def main(): print(42)")
    assert answer["stdout"] == "42\n", (answer, platform.logs())
    docker_id = subprocess.run(
        ["docker", "image", "inspect", "-f", "{{.Id}}", IMAGE], capture_output=True, text=True, check=True
    )
    assert platform.sql("SELECT image_id, engine, node FROM executions_execution") == [
        {"image_id": docker_id.stdout.strip(), "engine": "direct", "node": platform.node}
    ]
    assert list(contained.tops()[-1].glob(f"{group}/sandbox-platform/*/cgroup.procs"))
    with ThreadPoolExecutor() as pool:
        going = pool.submit(platform.run, "def main():\n import time\n time.sleep(4)\n print('whole')")
        eventually(
            lambda: platform.sql("SELECT 1 AS x FROM executions_sandbox WHERE state = 'claimed'"), "it has begun"
        )
        said = platform.manage("drain_node", "--wait", "60s", service="keeper")
        assert going.result(PATIENCE_S)["stdout"] == "whole\n"
    assert "0 runs go on, 0 were queued again, 0 sandboxes are left" in said
    assert list((tmp_path / "run/sandboxes").iterdir()) == []
    stop(agent)
    assert processes_in(group) == []


def stop(agent: subprocess.Popen[bytes]) -> None:
    """Send what a container's runtime sends to the first process."""
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 0
