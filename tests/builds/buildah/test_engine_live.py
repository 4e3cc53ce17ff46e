"""The builder with buildah, gVisor and a registry that asks for a password; the mirrors ask for another one."""

import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from builds.buildah.engine import BuildahEngine
from builds.engine import CAPABILITIES, INSIDE
from builds.fetching import fetch_image
from builds.making import install, make
from builds.models import BuildKind, BuildState, RuntimeBuild
from builds.record import BuildFailed, Cancelled, Record
from builds.running import run
from builds.services import cancel
from runtimes.packages import complete
from sandboxes.engine import EngineError
from tests.builds.buildah.registry import PASSWORD, Guarded
from tests.builds.local_mirrors import SECRET, TOKEN, Mirrors, local_mirrors

pytestmark = [pytest.mark.needs_docker, pytest.mark.django_db]

PYTHON = "sandbox-platform/runtime-python:latest"
SECRETS = (SECRET, TOKEN, PASSWORD)
# In place of build.sh: what foreign code reaches in a step of a build.
HOSTILE = """
exec python3 -IS - <<'END'
import json, os, socket
def attempt(what, *arguments):
    try:
        return repr(what(*arguments))
    except OSError as e:
        return type(e).__name__
found = {
    "machine": attempt(lambda: open("/proc/version").read()),
    "environment": dict(os.environ),
    "processes": sorted(name for name in os.listdir("/proc") if name.isdecimal()),
    "reached": [address for address in ADDRESSES if attempt(socket.create_connection, tuple(address), 2)[0] == "<"],
    "device": attempt(os.mknod, "/tmp/device", 0o60600, os.makedev(254, 0)),
    "mounts": [line.split()[1] for line in open("/proc/mounts")],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
}
print("FACTS found " + json.dumps(found))
END
"""


@pytest.fixture
def mirrors(tmp_path: Path, settings: Settings) -> Iterator[Mirrors]:
    settings.SANDBOX_BUILD_CONFIG, settings.SANDBOX_BUILD_HOSTS = tmp_path / "config", []
    settings.SANDBOX_BUILD_CONFIG.mkdir()
    with local_mirrors(tmp_path) as mirrors:
        mirrors.write_config(settings.SANDBOX_BUILD_CONFIG)
        yield mirrors


@pytest.fixture
def building(build: RuntimeBuild, engine: BuildahEngine) -> RuntimeBuild:
    build.state = BuildState.BUILDING
    build.save()
    return build


def told(engine: BuildahEngine, image: str, script: str, build: RuntimeBuild) -> list[str]:
    """Run the script in a container of the image, and return what it says."""
    container = engine.create_builder(engine.image(image)["Id"], build.pk)
    try:
        engine.put(container, INSIDE, {"build.sh": script})
        record = Record(build)
        run(engine, container, record)
        return list(record.last_lines)
    finally:
        engine.remove(container)


@pytest.fixture
def with_node(engine: BuildahEngine, building: RuntimeBuild) -> str:
    """The content id of an image with Python, and what passes for Node.js where only its version is asked for."""
    node = """#!/bin/sh
echo 'FACTS node {"version": "v20.1.0", "arch": "x64", "platform": "linux"}'
"""
    base = engine.image(PYTHON)["Id"]
    container = engine.create_builder(base, building.pk)
    engine.put(container, "/usr/local/bin", {"node": node})
    engine.put(
        container,
        INSIDE,
        {"build.sh": "chmod 755 /usr/local /usr/local/bin /usr/local/bin/node; rm -r /run/build"},
    )
    run(engine, container, Record(building))
    made = engine.commit(container, base, "", "")
    engine.remove(container)
    return made


def test_packages_of_all_installers_are_in_the_pushed_image(
    engine: BuildahEngine, building: RuntimeBuild, there: Guarded, mirrors: Mirrors, with_node: str
) -> None:
    building.base = with_node
    building.packages = complete({"apt": ["greeting-data"], "pip": ["needsgreeting"], "npm": ["tiny"]})
    make(engine, building, Record(building))
    # What a node is told is the content id: it finds the image by it, and the content is what it says.
    manifest = there.manifest("by-content", building.image_id.removeprefix("sha256:"))
    assert manifest["config"]["digest"] == building.image_id
    config = there.get(f"by-content/blobs/{building.image_id}")
    assert f"sha256:{hashlib.sha256(config).hexdigest()}" == building.image_id
    assert {layer["mediaType"].rpartition("tar")[2].strip("+.") for layer in manifest["layers"]} == {"gzip"}
    said = told(
        engine,
        building.image_id,
        "cat /usr/share/greeting-data /usr/share/greeting-data.seen; stat -c %u /node_modules/tiny\n"
        "python3 -c 'import greeting; print(greeting.greet())'; ls /run/build /run/secrets; ls -d /run/door || true\n",
        building,
    )
    assert said[:4] == ["installed", "/usr/share/greeting-data", "0", "hello again"]
    assert "build.sh" in said and "pip.txt" not in said
    assert "ls: cannot access '/run/secrets': No such file or directory" in said


def test_image_starts_like_its_base(engine: BuildahEngine, building: RuntimeBuild, mirrors: Mirrors) -> None:
    base = engine.image(PYTHON)
    building.base_image_id, building.packages = base["Id"], complete({"pip": ["greeting"]})
    made = engine.image(install(engine, building, Record(building)))
    for name in ("Entrypoint", "Cmd", "User", "WorkingDir", "Env"):
        assert made["Config"].get(name) == base["Config"].get(name)


def test_no_secret_is_in_image_or_log(
    engine: BuildahEngine, building: RuntimeBuild, mirrors: Mirrors, there: Guarded, with_node: str
) -> None:
    building.base_image_id = with_node
    building.packages = complete({"apt": ["greeting-data"], "pip": ["needsgreeting"], "npm": ["tiny"]})
    image_id = install(engine, building, Record(building))
    *_, layer = there.manifest("by-content", image_id.removeprefix("sha256:"))["layers"]
    packed = there.get(f"by-content/blobs/{layer['digest']}")
    content = subprocess.run(["gunzip"], input=packed, capture_output=True, check=True).stdout
    config = there.get(f"by-content/blobs/{image_id}")
    building.refresh_from_db()
    for secret in SECRETS:
        assert secret.encode() not in content + config
        assert secret not in building.log


def test_foreign_code_is_in_gvisor_without_network_secrets_and_devices(
    engine: BuildahEngine, building: RuntimeBuild, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        here = socket.gethostbyname(socket.gethostname())
        addresses = [["127.0.0.1", port], [here, port], ["127.0.0.1", mirrors.port]]
        container = engine.create_builder(engine.image(PYTHON)["Id"], building.pk)
        engine.put(container, INSIDE, {"build.sh": HOSTILE.replace("ADDRESSES", json.dumps(addresses))})
        found = run(engine, container, Record(building))["found"]
        engine.remove(container)
    assert found["machine"] != Path("/proc/version").read_text()
    assert PASSWORD not in str(found)
    assert len(found["processes"]) <= 2
    assert (found["reached"], found["device"]) == ([], "PermissionError")
    assert set(found["mounts"]) == {"/", "/proc", "/sys", "/dev", "/dev/pts", "/tmp"}
    bits = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "SETGID": 6, "SETUID": 7}
    assert int(found["capabilities"][0], 16) == sum(1 << bits[name] for name in CAPABILITIES)


def test_files_are_the_images_own(engine: BuildahEngine, building: RuntimeBuild, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the machine")
    script = f"rm -rf /etc/apt; ln -s {tmp_path} /etc/apt; ln -s /etc/shadow /etc/passwd.link\n"
    container = engine.create_builder(engine.image(PYTHON)["Id"], building.pk)
    engine.put(container, INSIDE, {"build.sh": script})
    run(engine, container, Record(building))
    assert engine.files(container, "/etc/apt/secret", 1 << 20) == {}
    assert engine.files(container, "/etc/passwd.link", 1 << 20) == {}
    with pytest.raises(EngineError, match="/etc/apt"):
        engine.put(container, "/etc/apt", {"planted": "x"})
    engine.remove(container)
    assert os.listdir(tmp_path) == ["secret"]


def test_step_that_fails_says_its_status(engine: BuildahEngine, building: RuntimeBuild) -> None:
    with pytest.raises(BuildFailed, match="status 7"):
        told(engine, PYTHON, "exit 7\n", building)


def test_cancelled_build_leaves_nothing(engine: BuildahEngine, building: RuntimeBuild, folder: Path) -> None:
    cancel(building)
    with pytest.raises(Cancelled):
        told(engine, PYTHON, "sleep 600\n", building)
    assert engine._buildah.containers() == []
    assert os.listdir(folder / "builds/work") == []
    assert sandboxes(folder) == []


def sandboxes(folder: Path) -> list[str]:
    runsc = folder / "run/runsc"
    return [path.name for path in runsc.iterdir() if path.suffix == ".state"] if runsc.exists() else []


def test_what_a_killed_builder_left_is_removed(
    engine: BuildahEngine, building: RuntimeBuild, folder: Path
) -> None:
    container = engine.create_builder(engine.image(PYTHON)["Id"], building.pk)
    engine.put(container, INSIDE, {"build.sh": "echo started; sleep 600\n"})
    channel = engine.attach(container)
    engine.start(container)
    assert channel.receive() == (b"started\n", b"")
    assert sandboxes(folder)
    BuildahEngine().tidy()
    assert channel.receive() is None
    channel.close()
    assert (sandboxes(folder), engine._buildah.containers()) == ([], [])
    assert os.listdir(folder / "builds/work") == []


def test_image_that_is_pulled_is_kept_under_its_content(
    engine: BuildahEngine, building: RuntimeBuild, there: Guarded
) -> None:
    building.kind, building.base, building.packages = BuildKind.PULL, PYTHON, complete({})
    record = Record(building)
    make(engine, building, record)
    assert building.image_id == building.base_image_id
    assert building.digest.startswith(f"{there.name}/runtime-python@sha256:")
    found = there.manifest("by-content", building.image_id.removeprefix("sha256:"))
    assert found["config"]["digest"] == building.image_id


def test_image_that_the_registry_has_not_is_named(engine: BuildahEngine, building: RuntimeBuild) -> None:
    building.base = "sandbox-platform/runtime-none:latest"
    with pytest.raises(EngineError, match=r"runtime-none.*manifest unknown"):
        make(engine, building, Record(building))


def test_registry_that_refuses_the_password_is_named(
    engine: BuildahEngine, building: RuntimeBuild, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "auth.json").write_text("{}")
    settings.SANDBOX_IMAGE_REGISTRY_AUTH_FILE = str(tmp_path / "auth.json")
    with pytest.raises(EngineError, match="authentication required|unauthorized"):
        engine.image(PYTHON)


def test_tag_of_another_content_is_refused(engine: BuildahEngine, there: Guarded) -> None:
    base = engine.image(PYTHON)["Id"]
    other = "sha256:" + "ab" * 32
    engine._buildah.push(base, f"{there.name}/by-content:{'ab' * 32}")
    with pytest.raises(EngineError, match="is another image"):
        engine.image(other)


def test_fetching_image_is_the_registrys(engine: BuildahEngine, settings: Settings, tmp_path: Path) -> None:
    settings.SANDBOX_BUILD_CONFIG = tmp_path
    named = engine.image("sandbox-platform/fetch:latest")
    assert fetch_image(engine) == named["Id"]
    (tmp_path / "fetch_image").write_text(f"{named['RepoDigests'][0]}\n")
    assert fetch_image(engine) == named["Id"]
