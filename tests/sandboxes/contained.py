"""What a container sees of cgroups, without one: a group of its own as the top of each tree, read-only."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes import cgroup

ROOT = Path("/sys/fs/cgroup")


def tops() -> list[Path]:
    return (
        [ROOT] if cgroup.version() == 2 else [ROOT / one for one in ("cpu", "cpuacct", "cpuset", "memory", "pids")]
    )


@pytest.fixture
def group() -> Iterator[str]:
    """A group in each tree, as a container has one."""
    name = f"test-{secrets.token_hex(4)}"
    for top in tops():
        (top / name).mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (top / name / file).exists() and cgroup.version() == 1:
                (top / name / file).write_text((top / file).read_text())
    yield name
    for top in tops():
        for path, folders, _ in os.walk(top / name, topdown=False):
            for folder in folders:
                Path(path, folder).rmdir()
        (top / name).rmdir()


def command(group: str, *options: str) -> list[str]:
    """Return the words before a command that run it in the group. `options`: of unshare, beside --mount."""
    lines = ["set -e"]
    for top in tops():
        lines += [
            f"echo $$ > {top / group}/cgroup.procs",
            f"mount --bind {top / group} {top}",
            f"mount -o remount,bind,ro {top}",
        ]
    inside = ["sh", "-c", "\n".join([*lines, 'exec "$@"']), "sh"]
    return ["unshare", "--mount", *inside, *(["unshare", *options] if options else [])]
