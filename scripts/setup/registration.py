"""Register gVisor in Docker's configuration, under a name for each set of flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sandboxes.gvisor import is_current, version_of
from scripts.setup import gvisor
from scripts.setup.docker import PATIENCE_S, PID_FILES, docker, is_running, wait_until
from scripts.setup.gvisor import DAEMON_JSON, FOLDER, LAUNCHER
from scripts.setup.host import has_systemd, must, step, write_root_file

OURS = ("runsc", "runsc-egress", "runsc-trace")


# Traces every system call of the guest, with as little of its arguments as gVisor allows. --allow-flag-override lets an
# annotation of each container name the destination. It grants nothing new: setting an annotation takes access to
# Docker, which is root on this host.
TRACE_ARGUMENTS = [
    "--network=none",
    "--oci-seccomp",
    "--allow-flag-override",
    "--debug",
    "--debug-command=boot",
    "--strace",
    "--strace-log-size=1",
]


def desired_runtimes(runsc: str) -> dict[str, dict[str, Any]]:
    return {
        "runsc": {"path": runsc, "runtimeArgs": ["--network=none", "--oci-seccomp"]},
        # No network here either: the only way out is a Unix socket of the host in a mounted directory. The guest may
        # open sockets but not create them; see docs/egress.md.
        "runsc-egress": {"path": runsc, "runtimeArgs": ["--network=none", "--oci-seccomp", "--host-uds=open"]},
        "runsc-trace": {"path": runsc, "runtimeArgs": TRACE_ARGUMENTS},
    }


def merge_runtimes(config: dict[str, Any], wanted: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Add our runtimes and keep everything else, including the operator's additional runsc flags.

    A runsc that the operator registered under another path keeps its path while it is current, but gets our flags:
    without --oci-seccomp a seccomp profile is accepted and ignored.
    """
    runtimes = dict(config.get("runtimes", {}))
    for name, ours in wanted.items():
        theirs = runtimes.get(name, {})
        flags = {flag.split("=", 1)[0] for flag in ours["runtimeArgs"]}
        kept = [flag for flag in theirs.get("runtimeArgs", []) if flag.split("=", 1)[0] not in flags]
        known = {flag.split("=", 1)[0] for flag in kept}
        added = [flag for flag in ours["runtimeArgs"] if flag.split("=", 1)[0] not in known]
        path = theirs.get("path", "")
        if path == str(LAUNCHER) or FOLDER in Path(path).parents or not is_current(version_of(path)):
            path = ours["path"]
        runtimes[name] = {**theirs, "path": path, "runtimeArgs": [*added, *kept]}
    return {**config, "runtimes": runtimes}


def same_runtimes(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Compare the runtimes regardless of the order of flags, which is no reason to reload a running daemon."""

    def normal(config: dict[str, Any]) -> dict[str, Any]:
        runtimes = config.get("runtimes", {})
        return {
            name: {**spec, "runtimeArgs": sorted(spec.get("runtimeArgs", []))} for name, spec in runtimes.items()
        }

    return normal(one) == normal(other)


def ensure_registered(runsc: Path) -> None:
    with step("gVisor runtimes in Docker's configuration") as current:
        before = gvisor.read_daemon_json()
        after = merge_runtimes(before, desired_runtimes(str(runsc)))
        if same_runtimes(before, after):
            current.note("already registered")
        else:
            write_registration(before, after)
            current.note(f"registered {', '.join(OURS)}")
            if is_running():
                reload_docker(after)
                current.note("Docker reloaded")
        if removed := gvisor.remove_unused():
            current.note(f"removed {', '.join(removed)}, which nothing uses any more")


def write_registration(before: dict[str, Any], after: dict[str, Any]) -> None:
    backup = DAEMON_JSON.with_name("daemon.json.before-sandbox-platform")
    if before and not backup.exists():
        write_root_file(backup, DAEMON_JSON.read_text(encoding="utf-8"))
    write_root_file(DAEMON_JSON, json.dumps(after, indent=2) + "\n")


def reload_docker(config: dict[str, Any]) -> None:
    """SIGHUP reloads the runtimes without affecting running containers; a restart would stop them."""
    # Without systemd, use the shell's builtin kill: a minimal Debian 13 has no kill command.
    signal = ["sh", "-c", f'kill -HUP "$(cat {PID_FILES[0]})"']
    reload = ["systemctl", "reload", "docker"] if has_systemd() else signal
    must(reload, root=True, check="Docker's reload", fix="restart Docker, then run `make`")

    def known() -> bool:
        paths = {name: runtime.get("path") for name, runtime in registered_runtimes().items()}
        return all(paths.get(name) == config["runtimes"][name]["path"] for name in OURS)

    wait_until(known, PATIENCE_S, "Docker knows the gVisor runtimes", "restart dockerd, then run `make`")


def registered_runtimes() -> dict[str, Any]:
    done = docker("info", "--format", "{{json .Runtimes}}")
    return dict(json.loads(done.stdout)) if done.returncode == 0 and done.stdout.strip() else {}
