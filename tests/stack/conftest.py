import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from scripts.setup import envfile
from scripts.setup.docker import command
from tests.live import ROOT, eventually, free_port


class Stack:
    """The Compose stack under another name, beside the one that may be running."""

    def __init__(self, *files: str, **settings: str) -> None:
        self._files = [word for file in ("docker-compose.yml", *files) for word in ("-f", file)]
        self.node = f"test-stack-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = envfile.settings()["SANDBOX_EXECUTOR_MANAGER_API_TOKEN"]
        self.settings = {
            "COMPOSE_PROJECT_NAME": self.node,
            "SANDBOX_WEB_CONTAINER": f"{self.node}-web",
            "SANDBOX_EXECUTOR_MANAGER_PORT": str(self.port),
            "SANDBOX_NODE": self.node,
            "SANDBOX_EXECUTOR_MANAGER_POOL_SIZE": "1",
            **settings,
        }
        self._environment = {**os.environ, **self.settings}

    def compose(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command("compose", *self._files, *words),
            cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip

    def start(self) -> None:
        done = self.compose("up", "--detach", "--no-build")
        assert done.returncode == 0, done.stderr + self.compose("logs", "--no-color").stdout
        eventually(self.is_ready, "the stack is ready", 120)

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def remove(self) -> None:
        self.compose("down", "--volumes", "--timeout", "30")
        if left := self.ids():
            subprocess.run(command("container", "rm", "--force", *left), check=False, capture_output=True)

    def ids(self) -> list[str]:
        listing = command("container", "ls", "--all", "--quiet", "--filter", f"label=sandbox-platform={self.node}")
        return subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()

    def inspect(self, service: str) -> dict[str, Any]:
        container = self.compose("ps", "--quiet", service).stdout.strip()
        output = subprocess.run(command("inspect", container), capture_output=True, text=True, check=True).stdout
        return dict(json.loads(output)[0])


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    running = Stack()
    try:
        running.start()
        yield running
    finally:
        running.remove()
