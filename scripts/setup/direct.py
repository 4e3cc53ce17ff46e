"""The host's part of the direct engine: the tools that make its images, and the removal of what it leaves behind."""

from __future__ import annotations

from scripts.setup import apt
from scripts.setup.docker import on_path
from scripts.setup.host import SetupError, must, release, say, step

PACKAGE = "erofs"

# $1: the node, $2: the root of the file system. A sandbox without a description was not made to the end, or is being
# made by another node. It has one cgroup on cgroup v2, and one for each controller on v1.
REMOVE = r"""
run=$2/run/sandbox-platform
for folder in "$run"/sandboxes/*; do
    [ -d "$folder" ] || continue
    if [ -f "$folder/sandbox.json" ]; then
        grep -qF "\"node\": \"$1\"" "$folder/sandbox.json" || continue
    elif [ -z "$(find "$folder" -maxdepth 0 -mmin +1)" ]; then
        continue
    fi
    id=${folder##*/}
    for group in "$2/sys/fs/cgroup/sandbox-platform/$id" "$2"/sys/fs/cgroup/*/sandbox-platform/"$id"; do
        [ -d "$group" ] || continue
        while processes=$(cat "$group/cgroup.procs") && [ -n "$processes" ]; do
            kill -9 $processes 2> /dev/null
            sleep 0.05
        done
        rmdir "$group"
    done
    rm -rf "$folder" "$run/runsc/${id}_"* "$run/runsc/runsc-$id.sock"
    echo "$id"
done
# What a sandbox without a folder left. The names of Docker's containers are longer. A cgroup with processes stays.
hex=[0-9a-f] hex=$hex$hex$hex$hex hex=$hex$hex$hex$hex hex=$hex$hex
for group in "$2"/sys/fs/cgroup/sandbox-platform/$hex "$2"/sys/fs/cgroup/*/sandbox-platform/$hex; do
    [ -d "$group" ] && [ ! -d "$run/sandboxes/${group##*/}" ] || continue
    [ -z "$(find "$group" -maxdepth 0 -mmin +1)" ] || rmdir "$group" 2> /dev/null
done
for socket in "$run"/runsc/runsc-*.sock; do
    id=${socket##*/runsc-}
    [ -d "$run/sandboxes/${id%.sock}" ] || rm -f "$socket"
done
exit 0
"""
# $1: the root of the file system. Another node of this machine (make dev) may have sandboxes: then all stays.
TIDY = r"""
for folder in "$1"/run/sandbox-platform/sandboxes/*; do
    id=${folder##*/}
    cat "$1/sys/fs/cgroup/sandbox-platform/$id/cgroup.procs" "$1"/sys/fs/cgroup/*/sandbox-platform/"$id"/cgroup.procs \
        2> /dev/null | grep -q . && exit
done
# The empty network namespace of all sandboxes.
umount "$1/run/sandbox-platform/runsc/null-netns" 2> /dev/null
for folder in run/sandbox-platform var/lib/sandbox-platform/images; do
    [ -d "$1/$folder" ] || continue
    rm -rf "${1:?}/$folder"
    echo "/$folder"
done
for group in "$1"/sys/fs/cgroup/sandbox-platform "$1"/sys/fs/cgroup/*/sandbox-platform; do
    [ -d "$group" ] && find "$group" -depth -type d -exec rmdir {} + 2> /dev/null
done
exit 0
"""
FIX = "kill the processes of /sys/fs/cgroup/**/sandbox-platform, and remove /run/sandbox-platform"


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


def remove_sandboxes(of_node: str, root: str = "/") -> list[str]:
    """Kill the node's sandboxes and remove their cgroups and folders; return their names."""
    line = ["sh", "-c", REMOVE, "sh", of_node, root.rstrip("/")]
    return must(line, root=True, check="sandboxes of the direct engine", fix=FIX).split()


def remove_all(root: str = "/") -> list[str]:
    """Remove the folders of sandboxes and images, and the cgroups; return the folders.

    All stays while another node has sandboxes on this machine.
    """
    line = ["sh", "-c", TIDY, "sh", root.rstrip("/") or "/."]
    return must(line, root=True, check="folders of the direct engine", fix=FIX).split()
