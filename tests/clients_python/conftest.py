import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import ROOT, TOKEN, Platform

SOURCE = ROOT / "clients/python"
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command, without the settings and the keyring of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SANDBOX_", "DJANGO_"))}
    ours = {
        "PYTHONPATH": str(SOURCE / "src"),
        "SANDBOX_CONFIG_DIR": str(folder / "settings"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    return kept | ours | more


@pytest.fixture
def sandbox_command(platform: Platform, tmp_path: Path) -> Command:
    """Runs `sandbox` with these arguments against the platform, in the test's folder."""

    def call(*arguments: str, stdin: str = "", **more: str) -> "subprocess.CompletedProcess[str]":
        told = {"SANDBOX_URL": platform.url, "SANDBOX_TOKEN": TOKEN}
        return subprocess.run(
            [sys.executable, "-m", "sandbox_client.cli", *arguments],
            cwd=tmp_path, env=environment(tmp_path, **told | more), input=stdin,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return call
