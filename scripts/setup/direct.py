"""Removes what the direct engine left on the host, once nothing of the platform runs any more."""

from __future__ import annotations

from scripts.setup.host import must

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


def remove_sandboxes(of_node: str) -> list[str]:
    """Kill the node's sandboxes and remove their cgroups and folders; return their names."""
    fix = "kill the processes of /sys/fs/cgroup/**/sandbox-platform, and remove /run/sandbox-platform"
    return must(
        ["sh", "-c", REMOVE, "sh", of_node], root=True, check="sandboxes of the direct engine", fix=fix
    ).split()
