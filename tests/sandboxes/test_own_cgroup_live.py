"""A sandbox below the cgroup of the process that starts it, with real cgroups and a real runsc."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandboxes import contained
from tests.sandboxes.contained import group

__all__ = ["group"]

pytestmark = [pytest.mark.needs_docker, pytest.mark.timeout(120)]
IMAGE = "sandbox-platform/runtime-python:latest"
INSIDE = f"""
import json
from pathlib import Path
import django
django.setup()
from sandboxes import cgroup
from sandboxes.direct import trial
from sandboxes.direct.engine import DirectEngine
cgroup.prepare_own()
seen = []
class Noting(DirectEngine):
    def start(self, name):
        super().start(name)
        seen.extend([name, Path(f"/proc/{{pid}}/cgroup").read_text()] for pid in cgroup.processes(name))
trial.check_cgroups()
trial.try_sandbox(Noting(), "{IMAGE}")
print(json.dumps(seen))
"""


def in_container_of(group: str, command: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*contained.command(group), *command],
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "sandbox_platform.settings",
            "SANDBOX_CGROUP_PARENT": "auto",
            "SANDBOX_RUN_DIR": str(tmp_path),
        },
        check=False,
    )


def test_sandbox_is_below_the_group_of_its_starter(group: str, tmp_path: Path) -> None:
    done = in_container_of(group, [sys.executable, "-c", INSIDE], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen
    for name, groups in seen:
        memory = next(line for line in groups.splitlines() if ":memory:" in line or line.startswith("0::"))
        assert memory.endswith(f":/{group}/sandbox-platform/{name}")


def test_tree_of_a_container_is_read_only_at_first(group: str, tmp_path: Path) -> None:
    code = "import django; django.setup(); from sandboxes import cgroup; cgroup.check_writable()"
    done = in_container_of(group, [sys.executable, "-c", code], tmp_path)
    assert "Read-only file system" in done.stderr
