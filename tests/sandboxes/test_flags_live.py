"""Every flag of a sandbox, in one that runs, for each engine: what it is like inside, and for the host's kernel."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from runtimes.models import MIB
from sandboxes import cgroup
from sandboxes.engine import Engine
from sandboxes.layout import PIDS_BASE
from tests.sandboxes.guest import LIMITS, each_engine, guest, job, spec

__all__ = ["each_engine"]
pytestmark = pytest.mark.needs_docker

# A process costs several MiB in gVisor: with the usual memory, sixty of them are a case for the OOM killer.
LIVE = replace(LIMITS, memory_bytes=1024 * MIB)
PROBE = """
import errno, os, resource, socket, stat, subprocess, threading, time

def attempt(what):
    try:
        what()
    except OSError as e:
        return errno.errorcode[e.errno]
    return "done"

def status(pid):
    lines = open(f"/proc/{pid}/status").read().splitlines()
    return {k: v.split() for k, _, v in (line.partition(":") for line in lines)}

def fill(folder):
    "Bytes that fit, and what stopped it. In several files: one alone runs into the limit on a file's size."
    written = 0
    try:
        for number in range(100):
            with open(f"{folder}/fill{number}", "wb", buffering=0) as file:
                for _ in range(4):
                    written += file.write(bytes(1 << 20))
    except OSError as e:
        return [written, errno.errorcode[e.errno]]
    finally:
        for name in os.listdir(folder):
            if name.startswith("fill"):
                os.unlink(f"{folder}/{name}")
    return [written, "no end"]

def one_large_file():
    with open("/workspace/large", "wb", buffering=0) as file:
        file.seek(LIMIT - 1)
        file.write(b"x")
        file.write(b"x")
    os.unlink("/workspace/large")

def many_processes():
    pids = []
    try:
        for _ in range(200):
            pid = os.fork()
            if pid == 0:
                time.sleep(600)
                os._exit(0)
            pids.append(pid)
    except OSError as e:
        return [len(pids), errno.errorcode[e.errno]]
    finally:
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    return [len(pids), "no end"]

def many_files():
    files = []
    try:
        for _ in range(2000):
            files.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as e:
        return [len(files), errno.errorcode[e.errno]]
    finally:
        for fd in files:
            os.close(fd)
    return [len(files), "no end"]

def runners_environment():
    "Recent releases of gVisor refuse it, as Linux does; older ones show it."
    try:
        return open("/proc/1/environ").read()
    except PermissionError:
        return ""

def open_own_device():
    "Number 10, 203 is /dev/cuse. Older releases of gVisor let the program make it."
    os.mknod("/workspace/cuse", stat.S_IFCHR | 0o600, os.makedev(10, 203))
    try:
        os.close(os.open("/workspace/cuse", os.O_RDWR))
    finally:
        os.unlink("/workspace/cuse")

def connect():
    with socket.socket() as s:
        s.settimeout(5)
        s.connect(("192.0.2.1", 80))

def main(limit):
    global LIMIT
    LIMIT = limit
    size = lambda path: (lambda v: v.f_blocks * v.f_frsize)(os.statvfs(path))
    return {
        "dmesg": subprocess.run(["dmesg"], capture_output=True, text=True).stdout,
        "interfaces": [name for _, name in socket.if_nameindex()],
        "routes": open("/proc/net/route").read().splitlines()[1:],
        "connect": attempt(connect),
        "write to the root": {path: attempt(lambda: open(path + "/x", "w")) for path in
                              ("/", "/etc", "/usr/bin", "/opt/sandbox", "/var/tmp", "/home", "/root")},
        "write to Docker's files": {name: attempt(lambda: open("/etc/" + name, "a")) for name in
                                    ("hosts", "hostname", "resolv.conf")},
        "name servers": [line.split()[1:] for line in open("/etc/resolv.conf") if line.startswith("nameserver")],
        "localhost": sorted({address[4][0] for address in socket.getaddrinfo("localhost", 80)}),
        "own name": socket.gethostbyname(socket.gethostname()),
        "results": attempt(lambda: os.listdir("/run/sandbox")),
        "me": status("self"),
        "runner": status(1),
        "size of /workspace": size("/workspace"),
        "size of /tmp": size("/tmp"),
        "size of /home/nobody": size("/home/nobody"),
        "size of /dev/shm": size("/dev/shm"),
        "fill /workspace": fill("/workspace"),
        "fill /tmp": fill("/tmp"),
        "fill /home/nobody": fill("/home/nobody"),
        "fill /dev/shm": fill("/dev/shm"),
        "large file": attempt(one_large_file),
        "processes": many_processes(),
        "files": many_files(),
        "limits": {name: list(resource.getrlimit(getattr(resource, "RLIMIT_" + name)))
                   for name in ("NPROC", "NOFILE", "FSIZE", "CORE")},
        "environment": dict(os.environ),
        "runner's environment": runners_environment(),
        "devices of the image": subprocess.run(
            ["find", "/", "-xdev", "(", "-type", "c", "-o", "-type", "b", ")"], capture_output=True, text=True).stdout,
        "device of its own": attempt(open_own_device),
        "setuid": attempt(lambda: os.setuid(0)),
        "chown": attempt(lambda: os.chown("/workspace", 0, 0)),
        "mount": subprocess.run(["mount", "-t", "tmpfs", "none", "/workspace"], capture_output=True).returncode,
        "mkdir": attempt(lambda: os.mkdir("/workspace/folder")),
    }
"""


@dataclass
class Live:
    inside: dict[str, Any]
    pids_now: int
    pids_limit: int
    memory: str
    swap: str
    quota: str
    weight: str


def cgroup_text(container: str, v1: str, v2: str) -> str:
    place = cgroup.folder(container, v1.split(".")[0])
    assert place
    return (place / (v1 if cgroup.version() == 1 else v2)).read_text().strip()


@pytest.fixture(scope="module")
def live(each_engine: Engine) -> Iterator[Live]:
    with (
        pytest.MonkeyPatch.context() as patch,
        guest(each_engine, spec(limits=LIVE)) as it,
    ):
        patch.setenv("SECRET_OF_THE_HOST", "do not leak")
        seen = it.run(job(PROBE, arguments=json.dumps({"limit": LIVE.workspace_bytes})))
        assert seen.result, seen.stderr.decode() + seen.complaint
        yield Live(
            json.loads(seen.result),
            int(cgroup_text(it.id, "pids.current", "pids.current")),
            int(cgroup_text(it.id, "pids.max", "pids.max")),
            cgroup_text(it.id, "memory.limit_in_bytes", "memory.max"),
            cgroup_text(it.id, "memory.memsw.limit_in_bytes", "memory.swap.max"),
            cgroup_text(it.id, "cpu.cfs_quota_us", "cpu.max"),
            cgroup_text(it.id, "cpu.shares", "cpu.weight"),
        )


def test_kernel_inside_is_gvisors(live: Live) -> None:
    assert "Starting gVisor" in live.inside["dmesg"]


def test_names_inside_are_the_machines_own_and_nothing_of_the_hosts(live: Live) -> None:
    names = (live.inside["localhost"], live.inside["own name"], live.inside["name servers"])
    assert names == (["127.0.0.1", "::1"], "127.0.1.1", [])


def test_files_beside_the_image_cannot_be_written(live: Live) -> None:
    assert set(live.inside["write to Docker's files"].values()) <= {"EROFS", "EACCES"}


def test_folder_of_results_cannot_be_listed(live: Live) -> None:
    assert live.inside["results"] == "EACCES"


def test_network_inside_is_at_most_the_loopback(live: Live) -> None:
    assert set(live.inside["interfaces"]) <= {"lo"}


def test_network_inside_has_no_route(live: Live) -> None:
    assert live.inside["routes"] == []


def test_network_inside_leads_nowhere(live: Live) -> None:
    assert live.inside["connect"] in ("ENETUNREACH", "EHOSTUNREACH")


def test_root_inside_cannot_be_written(live: Live) -> None:
    assert set(live.inside["write to the root"].values()) <= {"EROFS", "EACCES"}


SIZES = {"/workspace": 24 * MIB, "/tmp": 8 * MIB, "/home/nobody": 24 * MIB, "/dev/shm": 24 * MIB}


@pytest.mark.parametrize(("folder", "size"), SIZES.items())
def test_tmpfs_inside_has_its_size(live: Live, folder: str, size: int) -> None:
    assert live.inside[f"size of {folder}"] == size


@pytest.mark.parametrize(("folder", "size"), SIZES.items())
def test_tmpfs_inside_is_full_at_its_size(live: Live, folder: str, size: int) -> None:
    written, error = live.inside[f"fill {folder}"]
    assert (error, size - 2 * MIB <= written <= size) == ("ENOSPC", True)


def test_program_is_nobody(live: Live) -> None:
    me = live.inside["me"]
    assert (me["Uid"], me["Gid"], me["Groups"]) == (["65534"] * 4, ["65534"] * 4, [])


@pytest.mark.parametrize("set_", ["CapInh", "CapPrm", "CapEff"])
def test_program_has_no_capability(live: Live, set_: str) -> None:
    assert int(live.inside["me"][set_][0], 16) == 0


@pytest.mark.parametrize("what", ["setuid", "chown"])
def test_program_cannot_act_as_root(live: Live, what: str) -> None:
    assert live.inside[what] == "EPERM"


def test_program_cannot_mount(live: Live) -> None:
    assert live.inside["mount"] != 0


def test_runner_has_three_capabilities(live: Live) -> None:
    kill, setgid, setuid = 5, 6, 7
    assert int(live.inside["runner"]["CapEff"][0], 16) == 1 << kill | 1 << setgid | 1 << setuid


def test_cpu_quota_reaches_the_hosts_kernel(live: Live) -> None:
    assert live.quota.split()[0] == str(int(LIVE.cpus * 100_000))


def test_weight_of_a_sandbox_in_the_hosts_kernel_is_the_least(live: Live) -> None:
    assert live.weight == ("2" if cgroup.version() == 1 else "1")


@pytest.mark.parametrize(
    ("name", "value"),
    [("NPROC", LIVE.processes), ("NOFILE", LIVE.open_files), ("FSIZE", LIVE.workspace_bytes), ("CORE", 0)],
)
def test_ulimit_holds_inside_soft_and_hard(live: Live, name: str, value: int) -> None:
    assert live.inside["limits"][name] == [value, value]


def test_processes_inside_are_as_many_as_allowed(live: Live) -> None:
    started, error = live.inside["processes"]
    # One more or less: gVisor and Linux differ in whether the first one counts.
    assert (error, LIVE.processes - 4 <= started <= LIVE.processes) == ("EAGAIN", True)


def test_open_files_inside_are_as_many_as_allowed(live: Live) -> None:
    opened, error = live.inside["files"]
    assert (error, LIVE.open_files - 20 <= opened < LIVE.open_files) == ("EMFILE", True)


def test_file_inside_is_no_larger_than_allowed(live: Live) -> None:
    assert live.inside["large file"] == "EFBIG"


# CVE-2026-96812 takes a character device of the host: from the command line, from the image, or made by the program.


def test_image_holds_no_device(live: Live) -> None:
    assert live.inside["devices of the image"] == ""


def test_program_opens_no_device_of_its_own(live: Live) -> None:
    # ENXIO: gVisor has no such device, and does not ask the host for it.
    assert live.inside["device of its own"] in ("EPERM", "EACCES", "ENXIO")


def test_environment_inside_is_the_images_and_nothing_of_the_host(live: Live) -> None:
    assert set(live.inside["environment"]) <= {"PATH", "HOSTNAME", "HOME", "LANG"}


def test_runners_environment_holds_nothing_of_the_host(live: Live) -> None:
    names = {entry.split("=")[0] for entry in live.inside["runner's environment"].split("\0") if entry}
    assert names <= {"PATH", "HOSTNAME", "HOME", "LANG"}


def test_memory_limit_reaches_the_hosts_kernel_without_swap_on_top(live: Live) -> None:
    # v1 counts memory and swap together, v2 swap alone.
    assert (live.memory, live.swap in (live.memory, "0")) == (str(LIVE.memory_bytes), True)


def test_pids_limit_leaves_room_for_gvisor_itself(live: Live) -> None:
    # It counts gVisor's threads; running into it kills the sandbox without a word.
    assert live.pids_now < PIDS_BASE <= live.pids_limit - LIVE.processes


def test_folder_can_be_made_without_a_profile(live: Live) -> None:
    assert live.inside["mkdir"] == "done"
