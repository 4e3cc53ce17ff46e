"""What runsc is told of each flag. What the flags do is in tests/sandboxes/test_flags_live.py."""

import json
from dataclasses import replace
from typing import Any

import pytest

from runtimes.models import MIB
from sandboxes.direct.bundle import Image, config, seccomp
from sandboxes.engine import SandboxSpec
from tests.sandboxes.guest import LIMITS

IMAGE = Image("/images/x.erofs", ("/usr/bin/python3", "runner"), {"PATH": "/bin", "A": "image"}, ("/data",))
SPEC = SandboxSpec(image="sha256:1", limits=LIMITS, runner_config={"preload": []}, environment={"TZ": "UTC"})
TMPFS = ["rw", "exec", "nosuid", "nodev"]


def told(spec: SandboxSpec = SPEC, **options: Any) -> dict[str, Any]:
    return config(spec, IMAGE, "/sandbox-platform/1", **options)


def test_root_is_the_images_file_and_read_only() -> None:
    assert told()["root"]["readonly"] is True
    assert told()["annotations"] == {
        "dev.gvisor.spec.rootfs.source": "/images/x.erofs",
        "dev.gvisor.spec.rootfs.type": "erofs",
    }


def test_arguments_are_the_entrypoint_and_the_runners_configuration() -> None:
    assert told()["process"]["args"] == ["/usr/bin/python3", "runner", '{"preload": []}']


def test_a_command_replaces_the_runner_and_its_root() -> None:
    process = told(replace(SPEC, command=("/bin/sh",), as_nobody=True))["process"]
    assert (process["args"], process["user"]) == (["/bin/sh"], {"uid": 65534, "gid": 65534})
    assert process["capabilities"] == {"bounding": [], "effective": [], "permitted": []}


def test_runner_has_three_capabilities_and_gets_no_others() -> None:
    three = ["CAP_SETUID", "CAP_SETGID", "CAP_KILL"]
    process = told()["process"]
    assert process["capabilities"] == {"bounding": three, "effective": three, "permitted": three}
    assert process["noNewPrivileges"] is True


def test_environment_is_the_images_then_the_sandboxs_own() -> None:
    assert told()["process"]["env"] == ["PATH=/bin", "HOSTNAME=sandbox", "A=image", "HOME=/home/nobody", "TZ=UTC"]


def test_what_is_writable_has_a_size() -> None:
    writable = {
        m["destination"]: m["options"]
        for m in told()["mounts"]
        if m["type"] == "tmpfs" and m["destination"] != "/dev"
    }
    own = ["uid=65534", "gid=65534", "mode=0700"]
    assert writable == {
        "/dev/shm": [*TMPFS, f"size={24 * MIB}", "mode=1777"],
        "/data": [*TMPFS, f"size={8 * MIB}"],
        "/workspace": [*TMPFS, f"size={24 * MIB}", *own],
        "/home/nobody": [*TMPFS, f"size={24 * MIB}", *own],
        "/tmp": [*TMPFS, f"size={8 * MIB}", "mode=1777"],
        "/run/sandbox": [*TMPFS, f"size={24 * MIB}", "mode=1733"],
    }


def test_nothing_of_the_host_is_mounted_but_a_door() -> None:
    def bound(spec: SandboxSpec) -> list[tuple[str, str, list[str]]]:
        mounts = told(spec)["mounts"]
        return [(m["source"], m["destination"], m["options"]) for m in mounts if m["type"] == "bind"]

    assert bound(SPEC) == []
    assert bound(replace(SPEC, door="/doors/1")) == [("/doors/1", "/run/egress", ["rbind", "ro"])]


def test_every_namespace_is_the_sandboxs_own() -> None:
    assert {n["type"] for n in told()["linux"]["namespaces"]} == {"pid", "network", "ipc", "uts", "mount"}
    assert all(set(n) == {"type"} for n in told()["linux"]["namespaces"])


def test_limits_are_the_hosts() -> None:
    assert told()["linux"]["resources"] == {
        "memory": {"limit": 256 * MIB, "swap": 256 * MIB},
        "cpu": {"shares": 2, "period": 100_000, "quota": 150_000},
        "pids": {"limit": 512 + 4 * 64},
    }


def test_no_device_is_passed_in() -> None:
    assert "devices" not in told()["linux"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("NPROC", 64), ("NOFILE", 256), ("FSIZE", 24 * MIB), ("CORE", 0)],
)
def test_ulimits_are_soft_and_hard(name: str, value: int) -> None:
    assert {"type": f"RLIMIT_{name}", "soft": value, "hard": value} in told()["process"]["rlimits"]


def test_a_program_of_the_platforms_is_mounted_and_started() -> None:
    spec = replace(SPEC, program=b"x", capable=True)
    it = told(spec, program="/run/1/platform-program")
    assert it["process"]["args"] == ["/platform-program"]
    assert "CAP_SYS_ADMIN" in it["process"]["capabilities"]["effective"]
    assert it["mounts"][-1]["source"] == "/run/1/platform-program"


def test_without_a_profile_there_is_no_filter() -> None:
    assert "seccomp" not in told()["linux"]


def test_profile_is_translated_as_docker_does() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {
                "name": "mkdir",
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 13,
                "args": [{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}],
            },
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        ],
    }
    assert seccomp(profile) == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {
                "names": ["mkdir"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 13,
                "args": [{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}],
            },
        ],
    }
    assert json.loads(json.dumps(told(replace(SPEC, seccomp=json.dumps(profile)))))["linux"]["seccomp"] == seccomp(
        profile
    )
