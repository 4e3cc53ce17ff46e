"""Find or install Docker Engine, its plugins and gVisor, register gVisor, and start the daemon."""

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
# Directories shared by worker and gVisor for traces, and by guests and the egress service for requests. They hold only
# pipes and sockets, and have the same paths on the host and in the containers. OWNER is the platform image's user.
FOLDERS = (Path("/var/lib/sandbox-platform/trace"), Path("/var/lib/sandbox-platform/doors"))
OWNER = 10001
# The /etc/hosts of every sandbox. Docker would write one, and a network namespace of its own doing with it, which takes
# an eighth of a sandbox's start.
HOSTS = Path("/var/lib/sandbox-platform/hosts")
NAMES = r"127.0.0.1 localhost\n127.0.1.1 sandbox\n::1 localhost ip6-localhost ip6-loopback\n"
PID_FILES = (Path("/var/run/docker.pid"), Path("/var/run/docker/containerd/containerd.pid"))


def on_path(name: str) -> list[str]:
    """Return every executable of that name: a client without plugins may come first in PATH."""
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
                    f"too old in {here.distribution} {here.version}, or an older version comes first in PATH",
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
            f"{here.distribution} {here.version} has no package `runsc`",
            "install gVisor's own release (https://gvisor.dev/docs/user_guide/install/), then run `make`",
        )
    extra = []
    if "docker" in missing:
        # dockerd does not start without iptables. On a kernel with AppArmor, no container starts without its parser.
        extra.append("iptables")
        if Path("/sys/module/apparmor/parameters/enabled").exists():
            extra.append("apparmor")
    apt.install(apt.package_names([*missing, *extra], here))


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

    A `runsc` that the operator registered under another path keeps its path but gets our flags: without --oci-seccomp
    a seccomp profile is accepted and ignored.
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
    """Compare the runtimes regardless of the order of flags, which is no reason to reload a running daemon."""

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
                    str(DAEMON_JSON), f"not valid JSON: {error}", f"correct {DAEMON_JSON}, then run `make`"
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
            # SIGHUP reloads the runtimes without affecting running containers; a restart would stop them.
            if has_systemd():
                reload = ["systemctl", "reload", "docker"]
            else:
                # Use the shell's builtin kill: a minimal Debian 13 has no kill command.
                reload = ["sh", "-c", f'kill -HUP "$(cat {PID_FILES[0]})"']
            must(reload, root=True, check="Docker's reload", fix="restart Docker, then run `make`")
            wait_until(_runtimes_known, 15, "Docker knows the gVisor runtimes", "restart dockerd, then run `make`")
            current.note("Docker reloaded")


def ensure_folders() -> None:
    with step("files and directories that sandboxes share with the host") as current:
        for folder in FOLDERS:
            for line in (["mkdir", "-p"], ["chown", f"{OWNER}:{OWNER}"], ["chmod", "700"]):
                fix = f"create {folder} by hand, owned by uid {OWNER}"
                must([*line, folder], root=True, check=str(folder), fix=fix)
        write = f"printf '{NAMES}' > {HOSTS} && chmod 644 {HOSTS}"
        must(["sh", "-c", write], root=True, check=str(HOSTS), fix=f"write {HOSTS} by hand, with localhost in it")
        current.note(", ".join(map(str, (*FOLDERS, HOSTS))))


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
    # In a session of its own, the daemon outlives this terminal.
    line: Command = as_root(["sh", "-c", f"exec setsid {dockerd} >>{DAEMON_LOG} 2>&1 </dev/null"])
    nowhere = subprocess.DEVNULL
    daemon = subprocess.Popen(line, stdin=nowhere, stdout=nowhere, stderr=nowhere)

    def settled() -> bool:
        return daemon.poll() is not None or is_running()

    fix = f"see {DAEMON_LOG}, fix the cause, then run `make`"
    wait_until(settled, 60, "Docker answers on its socket", fix)
    if daemon.poll() is not None:
        raise SetupError("Docker daemon", "dockerd exited at once\n" + tail(run(["tail", "-n3", DAEMON_LOG])), fix)


def forget_stale_pid(path: Path) -> None:
    """Remove a pid file that names no dockerd or containerd, as after a reboot: dockerd would refuse to start."""
    try:
        pid = int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, PermissionError, ValueError):
        return
    try:
        # The command line of a zombie is empty. dockerd would take the zombie for a running daemon.
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
