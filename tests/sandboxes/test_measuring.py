from pathlib import Path

import pytest
from pytest_django import Settings

from runtimes.models import MIB, Runtime
from sandboxes.measuring import NOTICED, measure
from sandboxes.models import Sandbox, SandboxState

HELD = 70 * MIB


@pytest.fixture
def held(tmp_path: Path, settings: Settings) -> None:
    settings.SANDBOX_CGROUP_ROOT = tmp_path
    folder = tmp_path / "memory" / "docker" / "c1"
    folder.mkdir(parents=True)
    (folder / "memory.usage_in_bytes").write_text(f"{HELD}\n")


def sandbox(runtime: Runtime, settings: Settings, **fields: object) -> Sandbox:
    return Sandbox.objects.create(
        **{
            "runtime": runtime, "runtime_revision": runtime.revision, "node": settings.SANDBOX_NODE,
            "profile_sha256": "", "state": SandboxState.READY, "container_id": "c1",
        }
        | fields
    )  # fmt: skip


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("known", [None, HELD - NOTICED])
def test_a_sandbox_is_measured(python_runtime: Runtime, settings: Settings, known: int | None) -> None:
    warm = sandbox(python_runtime, settings, memory_bytes=known)
    measure()
    warm.refresh_from_db()
    assert warm.memory_bytes == HELD


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    "fields",
    [
        {"memory_bytes": HELD - NOTICED + 1},
        {"memory_bytes": 1, "node": "another"},
        {"memory_bytes": 1, "state": SandboxState.USED},
        {"memory_bytes": 1, "container_id": "gone"},
        {"memory_bytes": 1, "container_id": "", "state": SandboxState.STARTING},
    ],
    ids=["about the same", "another node's", "used", "no cgroup", "no container yet"],
)
def test_others_are_left_alone(python_runtime: Runtime, settings: Settings, fields: dict[str, object]) -> None:
    other = sandbox(python_runtime, settings, **fields)
    measure()
    other.refresh_from_db()
    assert other.memory_bytes == fields["memory_bytes"]
