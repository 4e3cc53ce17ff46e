"""The host's part of the direct engine: the tools that make its images, and the removal of what it leaves behind."""

from __future__ import annotations

from scripts.setup import apt
from scripts.setup.docker import on_path
from scripts.setup.host import SetupError, must, release, say, step

PACKAGE = "erofs"

# $1: the node. A sandbox without a description was not made to the end. It has one cgroup on cgroup v2, and one for
# each controller on v1.
REMOVE = r"""
for folder in /run/sandbox-platform/sandboxes/*; do
    [ -d "$folder" ] || continue
    if [ -f "$folder/sandbox.json" ] && ! grep -qF "\"node\": \"$1\"" "$folder/sandbox.json"; then continue; fi
    id=${folder##*/}
    for group in /sys/fs/cgroup/sandbox-platform/$id /sys/fs/cgroup/*/sandbox-platform/$id; do
        [ -d "$group" ] || continue
        while processes=$(cat "$group/cgroup.procs") && [ -n "$processes" ]; do
            kill -9 $processes 2> /dev/null
            sleep 0.05
        done
        rmdir "$group"
    done
    rm -rf "$folder" "/run/sandbox-platform/runsc/${id}_"*
    echo "$id"
done
"""


def ensure_tools() -> None:
    """Install mkfs.erofs for processes on the host (`make dev`, the tests). The platform's image has its own."""
    with step("mkfs.erofs, for the direct engine's images") as current:
        if on_path("mkfs.erofs"):
            current.note("present")
            return
        try:
            apt.install(apt.package_names([PACKAGE], release()))
            current.note("installed")
        except SetupError as error:
            say(str(error))
            current.note("missing: processes on the host use the Docker engine")


def remove_sandboxes(of_node: str) -> list[str]:
    """Kill the node's sandboxes and remove their cgroups and folders; return their names."""
    fix = "kill the processes of /sys/fs/cgroup/**/sandbox-platform, and remove /run/sandbox-platform"
    return must(
        ["sh", "-c", REMOVE, "sh", of_node], root=True, check="sandboxes of the direct engine", fix=fix
    ).split()
