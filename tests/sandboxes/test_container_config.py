"""Every flag of a sandbox, by name. A flag that is added, lost or changed has to be written down here too."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from pytest_django import Settings

from runtimes.models import MIB
from sandboxes.docker_engine import DockerEngine, container_config, container_name
from sandboxes.engine import SandboxSpec
from tests.sandboxes.guest import LIMITS

SPEC = SandboxSpec(
    image="an/image:1",
    limits=LIMITS,
    runner_config={"preload": ["json"], "preload_when_idle": []},
    environment={"TZ": "UTC", "A": "b=c"},
    seccomp='{"defaultAction": "SCMP_ACT_ALLOW"}',
    labels={"sandbox-platform.sandbox": "17"},
)
TMPFS = "rw,exec,nosuid,nodev"
HOST_CONFIG = {
    "Runtime": "runsc",
    "NetworkMode": "none",
    "Mounts": [
        {"Type": "bind", "Source": "/var/lib/sandbox-platform/hosts", "Target": "/etc/hosts", "ReadOnly": True}
    ],
    "ReadonlyRootfs": True,
    "Tmpfs": {
        "/workspace": f"{TMPFS},size={24 * MIB},uid=65534,gid=65534,mode=0700",
        "/home/nobody": f"{TMPFS},size={24 * MIB},uid=65534,gid=65534,mode=0700",
        "/tmp": f"{TMPFS},size={8 * MIB},mode=1777",
        "/run/sandbox": f"{TMPFS},size={24 * MIB},mode=1733",
    },
    "CapDrop": ["ALL"],
    "CapAdd": ["SETUID", "SETGID", "KILL"],
    "SecurityOpt": ["no-new-privileges:true", f"seccomp={SPEC.seccomp}"],
    "Memory": 256 * MIB,
    "MemorySwap": 256 * MIB,
    "CpuPeriod": 100_000,
    "CpuQuota": 150_000,
    "PidsLimit": 512 + 4 * 64,
    "Ulimits": [
        {"Name": "nproc", "Soft": 64, "Hard": 64},
        {"Name": "nofile", "Soft": 256, "Hard": 256},
        {"Name": "fsize", "Soft": 24 * MIB, "Hard": 24 * MIB},
        {"Name": "core", "Soft": 0, "Hard": 0},
    ],
    "LogConfig": {"Type": "none"},
    "IpcMode": "private",
    "ShmSize": 24 * MIB,
    "RestartPolicy": {"Name": "no"},
    "AutoRemove": False,
}
CONFIG = {
    "Image": "an/image:1",
    "Cmd": [json.dumps(SPEC.runner_config)],
    "Hostname": "sandbox",
    "Env": ["HOME=/home/nobody", "TZ=UTC", "A=b=c"],
    "Labels": {
        "sandbox-platform": "this-node",
        "sandbox-platform.kind": "sandbox",
        "sandbox-platform.sandbox": "17",
    },
    "WorkingDir": "/workspace",
    "User": "0:0",
    "OpenStdin": True,
    "StdinOnce": False,
    "NetworkDisabled": True,
    "Healthcheck": {"Test": ["NONE"]},
}


@pytest.fixture
def config(settings: Any) -> dict[str, Any]:
    settings.SANDBOX_NODE = "this-node"
    return container_config(SPEC)


@pytest.mark.parametrize("flag", CONFIG)
def test_flag_of_the_container(config: dict[str, Any], flag: str) -> None:
    assert config[flag] == CONFIG[flag]


@pytest.mark.parametrize("flag", HOST_CONFIG)
def test_flag_of_the_host_config(config: dict[str, Any], flag: str) -> None:
    assert config["HostConfig"][flag] == HOST_CONFIG[flag]


def test_container_has_no_other_flag(config: dict[str, Any]) -> None:
    assert config.keys() - {"HostConfig"} == CONFIG.keys()


def test_host_config_has_no_other_flag(config: dict[str, Any]) -> None:
    assert config["HostConfig"].keys() == HOST_CONFIG.keys()


def test_cgroups_are_the_hosts_matter(config: dict[str, Any]) -> None:
    placed = container_config(SPEC, (), {"CgroupParent": "/a"})["HostConfig"]
    assert placed == config["HostConfig"] | {"CgroupParent": "/a"}


@pytest.mark.parametrize(
    ("driver", "version", "placed"),
    [
        ("cgroupfs", "1", {"CgroupParent": "/sandbox-platform", "CpuShares": 2}),
        ("cgroupfs", "2", {"CgroupParent": "/sandbox-platform", "CpuShares": 2}),
        ("systemd", "2", {"CgroupParent": "sandbox_platform.slice", "CpuShares": 2}),
        ("systemd", "1", {}),
        ("none", "2", {}),
    ],
)
def test_placing_follows_dockers_cgroup_driver(
    monkeypatch: pytest.MonkeyPatch, driver: str, version: str, placed: dict[str, Any]
) -> None:
    engine = DockerEngine()
    monkeypatch.setattr(engine._api, "info", lambda: {"CgroupDriver": driver, "CgroupVersion": version})
    assert engine._cgroups == placed


def test_command_stands_in_for_the_runner() -> None:
    config = container_config(SandboxSpec(image="an/image:1", limits=LIMITS, command=("dmesg", "-T")))
    assert (config["Entrypoint"], "Cmd" in config) == (["dmesg", "-T"], False)


def test_sandbox_without_a_runner_is_nobody_from_the_start() -> None:
    config = container_config(SandboxSpec(image="an/image:1", limits=LIMITS, as_nobody=True))
    assert (config["User"], config["HostConfig"]["CapAdd"]) == ("65534:65534", [])


def test_volume_of_the_image_is_a_file_system_with_a_size() -> None:
    config = container_config(SandboxSpec(image="an/image:1", limits=LIMITS), ["/data", "/tmp"])
    tmpfs = config["HostConfig"]["Tmpfs"]
    assert f"size={LIMITS.tmp_bytes}" in tmpfs["/data"]
    assert tmpfs["/tmp"].endswith("mode=1777")


def test_sandbox_without_a_profile_is_unconfined() -> None:
    # Docker's own default profile breaks Node.js once runsc applies it.
    config = container_config(SandboxSpec(image="an/image:1", limits=LIMITS))
    assert "seccomp=unconfined" in config["HostConfig"]["SecurityOpt"]


def test_a_sandbox_with_a_door_has_the_registration_that_opens_it_and_nothing_else() -> None:
    config = container_config(replace(SPEC, door="/doors/17"))["HostConfig"]
    door = {"Type": "bind", "Source": "/doors/17", "Target": "/run/egress", "ReadOnly": True}
    assert config == HOST_CONFIG | {"Runtime": "runsc-egress", "Mounts": [*HOST_CONFIG["Mounts"], door]}


def test_a_traced_sandbox_opens_no_door() -> None:
    config = container_config(replace(SPEC, door="/doors/17", trace_to="/a/pipe"))["HostConfig"]
    assert config["Runtime"] == "runsc-trace"


def test_a_traced_sandbox_has_the_registration_that_tells_and_says_where_to() -> None:
    config = container_config(replace(SPEC, trace_to="/a/pipe"))["HostConfig"]
    assert config.pop("Annotations") == {"dev.gvisor.flag.debug-log": "/a/pipe"}
    assert config == HOST_CONFIG | {"Runtime": "runsc-trace"}


@pytest.mark.parametrize(("capable", "capabilities"), [(True, ["ALL"]), (False, ["SETUID", "SETGID", "KILL"])])
def test_a_program_of_ours_is_the_first_process(capable: bool, capabilities: list[str]) -> None:
    config = container_config(replace(SPEC, program=b"\x7fELF", capable=capable))
    assert (config["Entrypoint"], config["Cmd"]) == (["/platform-program"], [])
    # Docker writes into no container whose root is read-only, not even before it starts.
    assert config["HostConfig"] == HOST_CONFIG | {"ReadonlyRootfs": False, "CapAdd": capabilities}


def test_nobody_elses_program_gets_capabilities() -> None:
    assert container_config(replace(SPEC, capable=True))["HostConfig"] == HOST_CONFIG


def test_name_of_the_container_tells_what_it_is(settings: Settings) -> None:
    settings.SANDBOX_NODE = "my host"
    assert re.fullmatch(r"sandbox-platform-my-host-sandbox-17-[0-9a-f]{6}", container_name(SPEC))
    assert container_name(SPEC) != container_name(SPEC)
