"""What Docker was told of a sandbox's flags. What they do is in test_flags_live.py."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import docker
import pytest
from django.conf import settings

from sandboxes.layout import PIDS_BASE
from tests.sandboxes.guest import LIMITS, guest, own_engine, spec

pytestmark = pytest.mark.needs_docker


@dataclass
class Live:
    inspected: dict[str, Any]
    driver: str  # of cgroups

    @property
    def host(self) -> dict[str, Any]:
        return dict(self.inspected["HostConfig"])


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with (
        own_engine("docker") as engine,
        guest(engine, spec(labels={"sandbox-platform.sandbox": "17"})) as it,
        closing(docker.APIClient()) as api,
    ):
        yield Live(api.inspect_container(it.id), api.info()["CgroupDriver"])


def test_runtime_is_gvisor(live: Live) -> None:
    assert live.host["Runtime"] == settings.SANDBOX_GVISOR_RUNTIME


def test_network_mode_is_none(live: Live) -> None:
    assert (live.host["NetworkMode"], live.inspected["Config"]["NetworkDisabled"]) == ("none", True)


def test_root_is_read_only(live: Live) -> None:
    assert live.host["ReadonlyRootfs"] is True


def test_tmpfs_is_what_is_writable_and_only_names_are_mounted_from_the_host(live: Live) -> None:
    assert set(live.host["Tmpfs"]) == {"/workspace", "/tmp", "/home/nobody", "/run/sandbox"}
    mounts = [(mount["Destination"], mount["RW"]) for mount in live.inspected["Mounts"]]
    assert (live.host["Binds"], mounts) == (None, [("/etc/hosts", False)])


def test_capabilities_are_dropped_but_three(live: Live) -> None:
    assert live.host["CapDrop"] == ["ALL"]
    assert {name.removeprefix("CAP_") for name in live.host["CapAdd"]} == {"SETUID", "SETGID", "KILL"}


def test_container_is_not_privileged(live: Live) -> None:
    assert live.host["Privileged"] is False


def test_new_privileges_are_off(live: Live) -> None:
    assert "no-new-privileges:true" in live.host["SecurityOpt"]


def test_memory_has_no_swap_on_top(live: Live) -> None:
    assert (live.host["Memory"], live.host["MemorySwap"]) == (LIMITS.memory_bytes, LIMITS.memory_bytes)


def test_cpu_quota_is_told_to_docker(live: Live) -> None:
    assert live.host["CpuQuota"] == LIMITS.cpus * live.host["CpuPeriod"]


def test_sandboxes_are_weighed_as_one_and_not_against_the_platform(live: Live) -> None:
    parent = "/sandbox-platform" if live.driver == "cgroupfs" else "sandbox_platform.slice"
    assert (live.host["CgroupParent"], live.host["CpuShares"]) == (parent, 2)


def test_pids_limit_leaves_room_for_gvisor_itself(live: Live) -> None:
    assert live.host["PidsLimit"] - LIMITS.processes >= PIDS_BASE


def test_log_driver_is_none(live: Live) -> None:
    assert live.host["LogConfig"]["Type"] == "none"


def test_labels_name_platform_node_and_row(live: Live) -> None:
    labels = live.inspected["Config"]["Labels"]
    assert (labels["sandbox-platform"], labels["sandbox-platform.kind"], labels["sandbox-platform.sandbox"]) == (
        settings.SANDBOX_NODE, "sandbox", "17",
    )  # fmt: skip


def test_no_namespace_is_shared_with_the_host(live: Live) -> None:
    modes = [live.host[name] for name in ("IpcMode", "PidMode", "UTSMode", "UsernsMode")]
    assert modes == ["private", "", "", ""]


@pytest.mark.parametrize("key", ["Devices", "DeviceRequests", "DeviceCgroupRules"])
def test_no_device_is_passed_in(live: Live, key: str) -> None:
    assert not live.host[key]


def test_container_is_not_restarted(live: Live) -> None:
    assert live.host["RestartPolicy"]["Name"] == "no"


def test_without_a_profile_docker_adds_none(live: Live) -> None:
    assert "seccomp=unconfined" in live.host["SecurityOpt"]
