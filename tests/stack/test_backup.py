"""`make backup` of the running stack, and `make restore` in its place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from scripts.setup import compose, engine, envfile
from scripts.setup.backups import installation, restoring, taking
from tests.live import ROOT, eventually
from tests.stack.conftest import Stack

pytestmark = [pytest.mark.needs_docker, pytest.mark.needs_stack]


class Installation(installation.Stack):
    """The stack of the tests, whose images are there, with a copy of .env."""

    def __init__(self, root: Path, stack: Stack) -> None:
        super().__init__(root)
        self.stack = stack

    def prepare(self) -> None:
        pass

    def start_database(self) -> None:
        self.stack.compose("stop")
        self.stack.compose("up", "--detach", "--no-build", "--wait", "postgres")

    def start(self) -> None:
        self.stack.start()


@pytest.fixture
def here(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    for name, value in stack.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(compose.engine, "present", lambda: engine.Choice("docker", "of a test"))
    (tmp_path / ".env").write_text(envfile.ENV.read_text())
    return Installation(tmp_path, stack)


def make_backup(here: Installation, to: Path) -> None:
    """By the command behind `make backup`."""
    environment = {**os.environ, **here.stack.settings, "TO": str(to)}
    command = [sys.executable, "-m", "scripts.setup", "backup"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert to.stat().st_mode & 0o777 == 0o600


def run(stack: Stack, code: str) -> str:
    body = {"runtime": "python", "code": code, "wait": 30}
    headers = {"Authorization": f"Bearer {stack.token}"}
    answer = requests.post(f"{stack.url}/api/v1/executions", json=body, headers=headers, timeout=60).json()
    assert answer["status"] == "succeeded", answer
    return str(answer["id"])


def status(stack: Stack, execution: str) -> int:
    headers = {"Authorization": f"Bearer {stack.token}"}
    return requests.get(f"{stack.url}/api/v1/executions/{execution}", headers=headers, timeout=60).status_code


def test_a_restored_stack_has_the_history_of_the_backup_and_runs_programs(
    here: Installation, tmp_path: Path
) -> None:
    stack = here.stack
    kept = run(stack, "print('kept')")
    assert stack.compose("exec", "-T", "keeper", "python3", "manage.py", "seal").returncode == 0
    make_backup(here, tmp_path / "backup.tar")
    lost = run(stack, "print('lost')")
    assert stack.compose("exec", "-T", "keeper", "python3", "manage.py", "seal").returncode == 0
    with restoring.opened(tmp_path / "backup.tar") as (manifest, folder):
        assert (folder / taking.KEY).stat().st_size > 0
        said = restoring.restore(here, manifest, folder)
    assert "All rows match their seals" in said and "a backup was restored" in said
    eventually(stack.is_ready, "the stack is ready", 120)
    assert (status(stack, kept), status(stack, lost)) == (200, 404)
    run(stack, "print('goes on')")
