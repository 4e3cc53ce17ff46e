"""Docker Engine, its plugins and gVisor: found or installed, registered, and running."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.setup import apt
from scripts.setup.host import (
    Command,
    SetupError,
    as_root,
    has_systemd,
    is_root,
    must,
    parse_version,
    release,
    run,
    step,
    tail,
    write_root_file,
)
from scripts.setup.launcher import ensure_launcher, launched_path

ENGINE_FLOOR = (24,)
COMPOSE_FLOOR = (2, 26, 1)
OURS = ("runsc", "runsc-egress", "runsc-trace")
DAEMON_JSON = Path("/etc/docker/daemon.json")
DAEMON_LOG = Path("/var/log/dockerd.log")
# Where worker and gVisor meet for a trace, and guests and the egress service for a request: pipes and sockets,
# never a file. The same paths on the host and in the containers; the owner is the platform image's user.
FOLDERS = (Path("/var/lib/sandbox-platform/trace"), Path("/var/lib/sandbox-platform/doors"))
OWNER = 10001
PID_FILES = (Path("/var/run/docker.pid"), Path("/var/run/docker/containerd/containerd.pid"))


def on_path(name: str) -> list[str]:
    """Every executable of that name: a lone client may stand in PATH before the one that has the plugins."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/sbin", "/usr/local/bin"]
    found = [shutil.which(name, path=folder) for folder in dict.fromkeys(folders) if folder]
    return [path for path in found if path]


def plugin_version(cli: str, plugin: str) -> tuple[int, ...]:
    return parse_version(run([cli, plugin, "version"]).stdout)


@functools.cache
def cli() -> str:
    clients = on_path("docker")
    for candidate in clients:
        if plugin_version(candidate, "compose") >= COMPOSE_FLOOR and plugin_version(candidate, "buildx"):
            return candidate
    raise SetupError(
        "docker client",
        f"no docker client with compose >= 2.26.1 and buildx among {', '.join(clients) or 'none'}",
        "make setup",
    )


@functools.cache
def _needs_root() -> bool:
    return not is_root() and run([cli(), "version"]).returncode != 0


def command(*words: str | Path) -> list[str]:
    line = [cli(), *(str(word) for word in words)]
    return as_root(line) if _needs_root() else line


def docker(*words: str | Path, timeout: float | None = 120) -> subprocess.CompletedProcess[str]:
    return run(command(*words), timeout=timeout)


def socket_path() -> Path:
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    return Path(host.removeprefix("unix://"))


def ensure_installed() -> None:
    with step("Docker Engine, Compose, BuildKit and gVisor") as current:
        missing = missing_components()
        here = release()
        if missing:
            install(missing)
            cli.cache_clear()
            current.note("installed " + ", ".join(missing))
            if still := missing_components():
                raise SetupError(
                    f"{', '.join(still)} after the installation",
                    f"too old in {here.distribution} {here.version}, or an older one stands first in PATH",
                    "install Docker Engine >= 24 with Compose >= 2.26.1 by hand, then run `make`",
                )
        engine = ".".join(map(str, engine_version()))
        compose = ".".join(map(str, plugin_version(cli(), "compose")))
        current.note(f"Docker {engine}, Compose {compose}, {runsc_version()}")


def engine_version() -> tuple[int, ...]:
    daemons = on_path("dockerd")
    return parse_version(run([daemons[0], "--version"]).stdout) if daemons else ()


def runsc_version() -> str:
    lines = run([runsc_path(), "--version"]).stdout.splitlines()
    return lines[0] if lines else "runsc missing"


def runsc_path() -> str:
    found = on_path("runsc")
    return found[0] if found else "/usr/bin/runsc"


def missing_components() -> list[str]:
    missing = []
    if engine_version() < ENGINE_FLOOR:
        missing.append("docker")
    clients = on_path("docker")
    if not any(plugin_version(client, "compose") >= COMPOSE_FLOOR for client in clients):
        missing.append("compose")
    if not any(plugin_version(client, "buildx") for client in clients):
        missing.append("buildx")
    if not on_path("runsc"):
        missing.append("gvisor")
    return missing


def install(missing: list[str]) -> None:
    here = release()
    if (here.distribution, here.version) == ("debian", "12"):
        apt.add_trixie()
    if "gvisor" in missing and not apt.is_offered("runsc"):
        raise SetupError(
            "gVisor",
            f"{here.distribution} {here.version} offers no package `runsc`",
            "install gVisor's own release (https://gvisor.dev/docs/user_guide/install/), then run `make`",
        )
    extra = []
    if "docker" in missing:
        # Without iptables dockerd does not start; where the kernel has AppArmor on, no container does
        # without its parser.
        extra.append("iptables")
        if Path("/sys/module/apparmor/parameters/enabled").exists():
            extra.append("apparmor")
    apt.install(apt.package_names([*missing, *extra], here))


# Tells every system call of the guest, with as little of its arguments as gVisor can be brought to. Where to, the
# annotation of each container says, which is what --allow-flag-override is for: whoever can set an annotation is
# root on this host already.
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
        # No network either: the way out is one Unix socket of the host, in a folder that is mounted. Opened, never
        # made: see docs/egress.md.
        "runsc-egress": {"path": runsc, "runtimeArgs": ["--network=none", "--oci-seccomp", "--host-uds=open"]},
        "runsc-trace": {"path": runsc, "runtimeArgs": TRACE_ARGUMENTS},
    }


def merge_runtimes(config: dict[str, Any], wanted: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Our runtimes added; everything else, and any further runsc flag of the operator's, stays.

    A `runsc` of the operator's own, elsewhere, keeps its path but must have our flags: without --oci-seccomp a
    seccomp profile is accepted and ignored.
    """
    runtimes = dict(config.get("runtimes", {}))
    for name, ours in wanted.items():
        theirs = runtimes.get(name, {})
        flags = {flag.split("=", 1)[0] for flag in ours["runtimeArgs"]}
        kept = [flag for flag in theirs.get("runtimeArgs", []) if flag.split("=", 1)[0] not in flags]
        known = {flag.split("=", 1)[0] for flag in kept}
        added = [flag for flag in ours["runtimeArgs"] if flag.split("=", 1)[0] not in known]
        path = launched_path(theirs.get("path"), ours["path"])
        runtimes[name] = {**theirs, "path": path, "runtimeArgs": [*added, *kept]}
    return {**config, "runtimes": runtimes}


def same_runtimes(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """The order of flags is no reason to touch a running daemon."""

    def normal(config: dict[str, Any]) -> dict[str, Any]:
        runtimes = config.get("runtimes", {})
        return {
            name: {**spec, "runtimeArgs": sorted(spec.get("runtimeArgs", []))} for name, spec in runtimes.items()
        }

    return normal(one) == normal(other)


def ensure_registered() -> None:
    with step("gVisor runtimes in Docker's configuration") as current:
        before: dict[str, Any] = {}
        if DAEMON_JSON.exists():
            try:
                before = json.loads(DAEMON_JSON.read_text(encoding="utf-8") or "{}")
            except json.JSONDecodeError as error:
                raise SetupError(
                    str(DAEMON_JSON), f"not valid JSON: {error}", f"mend {DAEMON_JSON}, then run `make`"
                ) from error
        after = merge_runtimes(before, desired_runtimes(runsc_path()))
        if same_runtimes(before, after):
            current.note("already registered")
            return
        if before:
            backup = DAEMON_JSON.with_name("daemon.json.before-sandbox-platform")
            if not backup.exists():
                write_root_file(backup, DAEMON_JSON.read_text(encoding="utf-8"))
        write_root_file(DAEMON_JSON, json.dumps(after, indent=2) + "\n")
        current.note(f"registered {', '.join(OURS)}")
        if is_running():
            # SIGHUP re-reads the runtimes and leaves running containers alone; a restart would not.
            if has_systemd():
                reload = ["systemctl", "reload", "docker"]
            else:
                # The shell's kill: a minimal Debian 13 has no other.
                reload = ["sh", "-c", f'kill -HUP "$(cat {PID_FILES[0]})"']
            must(reload, root=True, check="Docker's reload", fix="restart Docker, then run `make`")
            wait_until(_runtimes_known, 15, "Docker knows the gVisor runtimes", "restart dockerd, then run `make`")
            current.note("Docker reloaded")


def ensure_folders() -> None:
    with step("folders for gVisor's traces and for doors") as current:
        for folder in FOLDERS:
            for line in (["mkdir", "-p"], ["chown", f"{OWNER}:{OWNER}"], ["chmod", "700"]):
                fix = f"make {folder} by hand, owned by uid {OWNER}"
                must([*line, folder], root=True, check=str(folder), fix=fix)
        current.note(", ".join(map(str, FOLDERS)))


def _runtimes_known() -> bool:
    return set(OURS) <= registered_runtimes().keys()


def registered_runtimes() -> dict[str, Any]:
    done = docker("info", "--format", "{{json .Runtimes}}")
    return dict(json.loads(done.stdout)) if done.returncode == 0 and done.stdout.strip() else {}


def is_running() -> bool:
    return docker("version", "--format", "{{.Server.Version}}", timeout=20).returncode == 0


def ensure_running() -> None:
    with step("Docker daemon") as current:
        if is_running():
            current.note("running")
            return
        if has_systemd():
            fix = "journalctl -u docker -n 50; systemctl restart docker"
            must(["systemctl", "enable", "--now", "docker"], root=True, check="starting Docker", fix=fix)
            wait_until(is_running, 60, "Docker answers on its socket", fix)
        else:
            start_daemon()
        _needs_root.cache_clear()
        current.note("started")


def start_daemon() -> None:
    mount_cgroups()
    for path in PID_FILES:
        forget_stale_pid(path)
    dockerd = on_path("dockerd")[0]
    # A session of its own: it outlives this terminal, as a service would.
    line: Command = as_root(["sh", "-c", f"exec setsid {dockerd} >>{DAEMON_LOG} 2>&1 </dev/null"])
    nowhere = subprocess.DEVNULL
    daemon = subprocess.Popen(line, stdin=nowhere, stdout=nowhere, stderr=nowhere)

    def settled() -> bool:
        return daemon.poll() is not None or is_running()

    fix = f"see {DAEMON_LOG}, mend it, then run `make`"
    wait_until(settled, 60, "Docker answers on its socket", fix)
    if daemon.poll() is not None:
        raise SetupError("Docker daemon", "dockerd ended at once\n" + tail(run(["tail", "-n3", DAEMON_LOG])), fix)


def forget_stale_pid(path: Path) -> None:
    """After a reboot a pid file may name some other process, and dockerd then refuses to start."""
    try:
        pid = int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, PermissionError, ValueError):
        return
    try:
        # Empty for a zombie, which dockerd takes for a living daemon.
        command_line = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        command_line = ""
    if Path(command_line.split("\0")[0]).name not in {"dockerd", "containerd"}:
        run(["rm", "-f", path], root=True)


def mount_cgroups() -> None:
    mounts = Path("/proc/mounts").read_text(encoding="ascii", errors="replace")
    if " cgroup" not in mounts:
        fix = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        must(
            ["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"],
            root=True,
            check="control groups",
            fix=fix,
        )


def wait_until(condition: Callable[[], bool], seconds: float, what: str, fix: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SetupError(what, f"not within {seconds:.0f} s", fix)
        time.sleep(0.25)


def ensure() -> None:
    ensure_installed()
    ensure_running()
    ensure_launcher(runsc_path())
    ensure_registered()
    ensure_folders()
