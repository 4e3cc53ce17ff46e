"""The builder as a service beside a node without Docker, each with its own role in Postgres."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builds.buildah.conftest import unmount_below
from tests.builds.buildah.registry import Guarded
from tests.builds.local_mirrors import SECRET, Mirrors, local_mirrors
from tests.builds.test_live import ADMINISTRATOR, Builder
from tests.live import Platform, eventually

pytestmark = pytest.mark.needs_docker

USES_IT = "import greeting\nprint(greeting.greet())"


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrors]:
    with local_mirrors(tmp_path_factory.mktemp("mirrors")) as mirrors:
        yield mirrors


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory, there: Guarded, mirrors: Mirrors) -> Iterator[Builder]:
    # A short path: gVisor has sockets below it.
    folder = Path(tempfile.mkdtemp(prefix="nodes-"))
    platform = Platform(
        tmp_path_factory.mktemp("platform"),
        roles=True,
        SANDBOX_BUILDER="buildah",
        SANDBOX_ENGINE="direct",
        SANDBOX_IMAGE_SOURCE="registry",
        SANDBOX_IMAGE_REGISTRY=there.name,
        SANDBOX_IMAGE_REGISTRY_AUTH_FILE=str(there.auth),
        SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP="True",
        SANDBOX_RUN_DIR=str(folder / "run"),
        SANDBOX_IMAGE_DIR=str(folder / "images"),
        SANDBOX_BUILD_DIR=str(folder / "builds"),
        SANDBOX_TIMEOUT="30s",
        # Nothing may reach it.
        DOCKER_HOST=f"unix://{folder}/no-docker.sock",
    )
    (platform.folder / "build-config").mkdir()
    mirrors.write_config(platform.folder / "build-config")
    try:
        platform.start("python")
        platform.keep_one_smoke_program()
        platform.manage("shell", "-c", ADMINISTRATOR)
        yield Builder(platform)
    finally:
        stop(platform)
        unmount_below(folder)
        shutil.rmtree(folder)


def stop(platform: Platform) -> None:
    for process in platform.processes.values():
        process.terminate()
    for name in list(platform.processes):
        with contextlib.suppress(subprocess.TimeoutExpired):
            platform.processes[name].wait(30)
        platform.kill(name)
    platform.postgres.stop()
    with platform._engine() as engine:
        for sandbox in engine.containers():
            engine.remove(sandbox.id)


def test_build_is_made_pushed_probed_by_a_node_and_goes_live(builder: Builder) -> None:
    answer = builder.call("POST", "/runtimes/python/builds", {"packages": {"pip": ["needsgreeting"]}})
    assert answer.status_code == 202, answer.text
    number = answer.json()["number"]
    assert builder.call("GET", f"/runtimes/python/builds/{number}").json()["state"] == "queued"
    builder.platform.spawn("builder")
    build = builder.until_ended("python", number)
    log = builder.call("GET", f"/runtimes/python/builds/{number}").json()["log"]
    assert build["state"] == "live", f"{build['error']}\n{log}"
    assert "== probes passed" in log
    assert SECRET not in log
    ran = builder.execute("python", USES_IT)
    assert (ran["status"], ran["stdout"]) == ("succeeded", "hello again\n")
    recorded = builder.platform.last_execution()
    assert recorded["image_id"] == build["image_id"] != build["base_image_id"]


def test_back_to_the_image_without_the_build_and_again_to_the_build(builder: Builder) -> None:
    (number,) = builder.live("python")
    answer = builder.call("POST", f"/runtimes/python/builds/{number}/deactivate")
    assert answer.status_code == 200, answer.text
    assert builder.execute("python", USES_IT)["status"] == "failed"
    answer = builder.call("POST", f"/runtimes/python/builds/{number}/activate")
    assert answer.status_code == 202, answer.text
    eventually(lambda: builder.live("python") == [number], "the build is live again", 120)
    assert builder.execute("python", USES_IT)["stdout"] == "hello again\n"


def test_package_that_does_not_exist_fails_the_build_and_changes_nothing(builder: Builder) -> None:
    live = builder.live("python")
    build = builder.build("python", {"packages": {"pip": ["no-such-package"]}})
    assert (build["state"], builder.live("python")) == ("failed", live)
    assert "no-such-package" in build["error"]
