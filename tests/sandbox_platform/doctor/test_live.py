"""Each check on real sandboxes, and on ones that lack what it looks for."""

from collections.abc import Iterator

import docker
import pytest

from sandbox_platform.doctor import Status, live
from sandboxes import docker_engine

pytestmark = pytest.mark.needs_docker


@pytest.fixture(autouse=True)
def nothing_left(python_runtime, settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.SANDBOX_NODE = "test-doctor"
    yield
    filters = {"label": f"{settings.SANDBOX_LABEL}=test-doctor"}
    left = docker.DockerClient(base_url=settings.DOCKER_HOST).containers.list(all=True, filters=filters)
    for container in left:
        container.remove(force=True)
    assert left == []


@pytest.mark.parametrize("check", [live.gvisor_on, live.seccomp_on, live.network_dark, live.memory_limit])
def test_sound_node_passes(check) -> None:
    assert check("check").status is Status.OK


@pytest.fixture
def sandboxes_differ(monkeypatch: pytest.MonkeyPatch):
    """Makes the Docker engine start them with other host settings."""
    monkeypatch.setattr(live, "get_engine", docker_engine.get_engine)
    original = docker_engine.container_config

    def differ(**changes: object) -> None:
        def container_config(*arguments):
            config = original(*arguments)
            config["NetworkDisabled"] = False
            config["HostConfig"] |= changes
            return config

        monkeypatch.setattr(docker_engine, "container_config", container_config)

    return differ


def test_sandbox_without_gvisor_is_noticed(sandboxes_differ) -> None:
    sandboxes_differ(Runtime="runc")
    assert live.gvisor_on("check").status is Status.BROKEN


def test_ignored_profile_is_noticed(sandboxes_differ) -> None:
    sandboxes_differ(SecurityOpt=["seccomp=unconfined"])
    assert live.seccomp_on("check").status is Status.BROKEN


def test_network_is_noticed(sandboxes_differ) -> None:
    sandboxes_differ(Runtime="runc", NetworkMode="bridge")
    assert live.network_dark("check").status is Status.BROKEN


def test_memory_without_limit_is_noticed(sandboxes_differ) -> None:
    sandboxes_differ(Memory=0, MemorySwap=0)
    assert live.memory_limit("check").status is Status.BROKEN
