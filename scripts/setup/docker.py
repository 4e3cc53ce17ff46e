"""Find or install Docker Engine and its plugins, and start the daemon."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from scripts.setup import apt
from scripts.setup.host import (
    Command,
    SetupError,
    as_root,
    detail,
    has_systemd,
    is_root,
    must,
    parse_version,
    release,
    run,
    step,
    tail,
)

ENGINE_FLOOR = (24,)
COMPOSE_FLOOR = (2, 26, 1)
# Docker starts in seconds, and in minutes where it has many containers or the machine is emulated.
PATIENCE_S = 180.0
# And in no case longer than this: a daemon that logs for ever without answering gets nowhere.
LONGEST_S = 1800.0
TOLD_EVERY_S = 30.0
DAEMON_LOG = Path("/var/log/dockerd.log")
# Directories shared by worker and gVisor for traces, and by guests and the egress service for requests. They hold only
# pipes and sockets, and have the same paths on the host and in the containers. 10001 is the platform image's user,
# 10002 the egress service's user and group in docker-compose.yml, which may enter the folder and change nothing in it.
FOLDERS = {
    Path("/var/lib/sandbox-platform/trace"): ("10001:10001", "700"),
    Path("/var/lib/sandbox-platform/doors"): ("10001:10002", "2750"),
}
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
    with step("Docker Engine, Compose and BuildKit") as current:
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
        current.note(f"Docker {engine}, Compose {compose}")


def engine_version() -> tuple[int, ...]:
    daemons = on_path("dockerd")
    return parse_version(run([daemons[0], "--version"]).stdout) if daemons else ()


def missing_components() -> list[str]:
    missing = []
    if engine_version() < ENGINE_FLOOR:
        missing.append("docker")
    clients = on_path("docker")
    if not any(plugin_version(client, "compose") >= COMPOSE_FLOOR for client in clients):
        missing.append("compose")
    if not any(plugin_version(client, "buildx") for client in clients):
        missing.append("buildx")
    return missing


def install(missing: list[str]) -> None:
    here = release()
    if (here.distribution, here.version) == ("debian", "12"):
        apt.add_trixie()
    extra = []
    if "docker" in missing:
        # dockerd does not start without iptables. On a kernel with AppArmor, no container starts without its parser.
        extra.append("iptables")
        if Path("/sys/module/apparmor/parameters/enabled").exists():
            extra.append("apparmor")
    apt.install(apt.package_names([*missing, *extra], here))


def ensure_folders() -> None:
    with step("files and directories that sandboxes share with the host") as current:
        for folder, (owner, mode) in FOLDERS.items():
            for line in (["mkdir", "-p"], ["chown", owner], ["chmod", mode]):
                fix = f"create {folder} by hand, owned by {owner}, with mode {mode}"
                must([*line, folder], root=True, check=str(folder), fix=fix)
        write = f"printf '{NAMES}' > {HOSTS} && chmod 644 {HOSTS}"
        must(["sh", "-c", write], root=True, check=str(HOSTS), fix=f"write {HOSTS} by hand, with localhost in it")
        current.note(", ".join(map(str, (*FOLDERS, HOSTS))))


def is_running() -> bool:
    return docker("version", "--format", "{{.Server.Version}}", timeout=60).returncode == 0


def ensure_running() -> None:
    with step("Docker daemon") as current:
        if is_running():
            current.note("running")
            if has_systemd() and is_left_out_at_boot():
                must(
                    ["systemctl", "enable", "docker"],
                    root=True,
                    check="Docker's start at boot",
                    fix="systemctl enable docker",
                )
                current.note("docker.service is enabled: without it the stack would not be back after a reboot")
            return
        if has_systemd():
            fix = "journalctl -u docker -n 50; systemctl restart docker"
            must(["systemctl", "enable", "--now", "docker"], root=True, check="starting Docker", fix=fix)
            wait_until(is_running, PATIENCE_S, "Docker answers on its socket", fix)
        else:
            start_daemon()
        _needs_root.cache_clear()
        current.note("started")


def is_left_out_at_boot() -> bool:
    """Return whether systemd has docker.service but does not start it at boot. A daemon of snap has another name."""
    return run(["systemctl", "is-enabled", "docker.service"]).stdout.strip() == "disabled"


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
    wait_until(settled, PATIENCE_S, "Docker answers on its socket", fix, progress=log_size)
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


def log_size() -> int:
    return DAEMON_LOG.stat().st_size if DAEMON_LOG.exists() else 0


def wait_until(
    condition: Callable[[], bool],
    seconds: float,
    what: str,
    fix: str,
    progress: Callable[[], object] = lambda: None,
) -> None:
    """Wait for the condition, at most `seconds` after `progress` has last changed, and LONGEST_S in all.

    Says what it waits for. Raises SetupError.
    """
    began, seen = time.monotonic(), progress()
    told = began
    deadline = began + seconds
    while not condition():
        now, (before, seen) = time.monotonic(), (seen, progress())
        if seen != before:
            deadline = now + seconds
        if now > deadline:
            raise SetupError(
                what, f"not within {now - began:.0f} s, and nothing has changed for {seconds:.0f} s", fix
            )
        if now - began > LONGEST_S:
            raise SetupError(what, f"not within {now - began:.0f} s, though something goes on", fix)
        if now - told >= TOLD_EVERY_S:
            told = now
            detail(f"{now - began:.0f} s: waiting until {what}")
        time.sleep(0.25)


def ensure() -> None:
    ensure_installed()
    ensure_running()
    ensure_folders()
