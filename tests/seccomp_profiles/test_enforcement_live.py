"""A gVisor that nobody told to read profiles: --oci-seccomp is not among its registration's flags."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from executions import readiness
from inspections import services as inspections
from inspections import tasks
from sandbox_platform.doctor import profiles
from sandboxes.docker_engine import DockerEngine
from seccomp_profiles import revisions
from tests.inspections.conftest import denying, make_runtime
from tests.private_docker import PrivateDocker

pytestmark = pytest.mark.needs_docker


@pytest.fixture
def deaf(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerEngine]:
    docker = PrivateDocker(tmp_path, arguments=["--network=none"])
    try:
        docker.start()
        docker.take_image("sandbox-platform/runtime-python:latest")
        settings.DOCKER_HOST = docker.host
        engine = DockerEngine()
        monkeypatch.setattr(tasks, "get_engine", lambda: engine)
        yield engine
    finally:
        docker.stop()


def test_the_probe_says_so_and_readiness_turns_red(db: None, deaf: DockerEngine) -> None:
    profile = revisions.create_profile("tried", denying("ptrace", "mkdir"))
    runtime = make_runtime("python")
    runtime.seccomp_profile = profile
    runtime.save()
    inspections.tend(deaf)
    tasks.inspect()
    probe = profile.current.inspections.get()
    assert probe.verdict == "not_enforced", probe.details
    assert set(probe.details["calls"]["not_refused"]) == {"ptrace", "mkdir"}
    assert f"The seccomp profile {profile.current} is not enforced for python." in readiness.state()[1]
    assert profiles.verdicts("seccomp profiles").status == "broken"
