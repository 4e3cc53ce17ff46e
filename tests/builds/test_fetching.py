"""Who sees what during a build: real containers, and mirrors on loopback that ask for a password."""

import json
import socket
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import docker
import pytest
from pytest_django import Settings

from builds.docker_engine import DockerBuildEngine
from builds.engine import INSIDE
from builds.fetching import fetch
from builds.making import install, repository, tag_of
from builds.models import BuildState, RuntimeBuild
from builds.record import BuildFailed, Record
from runtimes.packages import complete
from scripts.setup import certificates
from tests.builds.local_mirrors import SECRET, TOKEN, Mirrors, local_mirrors, wheel

pytestmark = [pytest.mark.needs_docker, pytest.mark.django_db]

PYTHON = "sandbox-platform/runtime-python:latest"
DUMP = "/var/lib/dump"
# What a hostile image runs in place of its shell, package manager and interpreters: write down all that it can reach,
# then do what was asked, so that the build goes on.
HOSTILE = """#!/usr/bin/python3 -IS
import json, os, socket, sys
def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
seen = {"who": os.path.basename(sys.argv[0]), "own environ": dict(os.environ), "reached": []}
for folder in ("/run", "/tmp", "/root", "/etc/apt"):
    for where, _, files in os.walk(folder):
        for name in files:
            seen[f"{where}/{name}"] = read(f"{where}/{name}")
for name in ("environ", "cmdline", "mountinfo"):
    seen[name] = read(f"/proc/1/{name}")
seen["interfaces"] = sorted(os.listdir("/sys/class/net"))
for address in ADDRESSES:
    try:
        socket.create_connection(tuple(address), timeout=2).close()
        seen["reached"].append(address)
    except OSError:
        pass
with open("DUMP", "a") as file:
    file.write(json.dumps(seen) + "\\n")
if seen["who"] == "node":
    print('FACTS node {"version": "v20.1.0", "arch": "x64", "platform": "linux"}')
else:
    real = "/usr/bin/real-" + seen["who"]
    os.execv(real, [real, *sys.argv[1:]])
"""


@pytest.fixture
def engine() -> DockerBuildEngine:
    return DockerBuildEngine()


@pytest.fixture
def mirrors(tmp_path: Path, settings: Settings) -> Iterator[Mirrors]:
    settings.SANDBOX_BUILD_CONFIG = tmp_path / "config"
    settings.SANDBOX_BUILD_HOSTS = []
    settings.SANDBOX_BUILD_CONFIG.mkdir()
    (tmp_path / "config/fetch_image").write_text(certificates.fetch_image_id())
    with local_mirrors(tmp_path) as mirrors:
        mirrors.write_config(tmp_path / "config")
        yield mirrors


@pytest.fixture
def made(build: RuntimeBuild, engine: DockerBuildEngine) -> Iterator[Callable[..., str]]:
    """Installs packages in an image; the id of the new image. Nothing is left behind."""

    def make(image: str, **packages: list[str]) -> str:
        build.state, build.packages, build.base_image_id = (
            BuildState.BUILDING, complete(packages), engine.image(image)["Id"],
        )  # fmt: skip
        build.save()
        return install(engine, build, Record(build))

    yield make
    assert engine.builders() == {}
    engine.untag(f"{repository()}:{tag_of(build)}")


@pytest.fixture
def hostile_image() -> Iterator[Callable[..., str]]:
    """Makes an image whose programs write down what they reach, beside these addresses."""
    repository = f"sandbox-platform-test/hostile-{uuid.uuid4().hex[:12]}"
    with closing(docker.from_env()) as client:

        def make(*addresses: tuple[str, int]) -> str:
            program = HOSTILE.replace("ADDRESSES", json.dumps(addresses)).replace("DUMP", DUMP).encode()
            buffer = BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as tar:
                for name in ("sh", "apt-get", "node", "dpkg"):
                    entry = tarfile.TarInfo(f"usr/bin/{name}")
                    entry.size, entry.mode = len(program), 0o755
                    tar.addfile(entry, BytesIO(program))
            moved = "for name in sh apt-get dpkg; do cp /usr/bin/$name /usr/bin/real-$name; done"
            container = client.containers.create(
                PYTHON, ["-c", moved], entrypoint="/bin/sh", user="0", network_mode="none"
            )
            try:
                container.start()
                container.wait()
                container.put_archive("/", buffer.getvalue())
                container.commit(repository, "latest")
            finally:
                container.remove()
            return f"{repository}:latest"

        yield make
        client.images.remove(f"{repository}:latest", force=True)


def saved(image_id: str) -> Iterator[bytes]:
    """The whole image: its layers, configuration and history."""
    with closing(docker.from_env()) as client:
        yield from client.api.get_image(image_id)


def dumped(image_id: str) -> list[dict[str, Any]]:
    with closing(docker.from_env()) as client:
        container = client.containers.create(image_id)
        try:
            with tarfile.open(fileobj=BytesIO(b"".join(container.get_archive(DUMP)[0]))) as tar:
                content = tar.extractfile("dump")
                assert content
                return [json.loads(line) for line in content.read().decode().splitlines()]
        finally:
            container.remove()


def assert_packages_are_there(image_id: str) -> None:
    """Of all installers; nothing else of the build is."""
    script = (
        "cat /usr/share/greeting-data /usr/share/greeting-data.seen; cat /node_modules/tiny/index.js;"
        "python3 -c 'import greeting; print(greeting.greet())'; ls -a /run/build /run/secrets 2>&1;"
        "stat -c %u /node_modules/tiny"
    )
    with closing(docker.from_env()) as client:
        found = client.containers.run(
            image_id, ["-c", script], entrypoint="/usr/bin/real-sh", network_mode="none", remove=True
        ).decode()
    assert "installed\n/usr/share/greeting-data\nmodule.exports = '1.0.0';hello again\n" in found
    assert found.count("No such file") == 2
    assert found.endswith("\n0\n")


def test_hostile_image_gets_its_packages_and_sees_no_secret_and_no_network(
    made: Callable[..., str], hostile_image: Callable[..., str], mirrors: Mirrors, build: RuntimeBuild
) -> None:
    # On all addresses of this host, so that a network of any kind would reach it.
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        with closing(docker.from_env()) as client:
            gateway = client.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"]
        image = hostile_image(("127.0.0.1", port), (gateway, port), ("127.0.0.1", mirrors.port))
        image_id = made(image, apt=["greeting-data"], pip=["needsgreeting"], npm=["tiny"])
    assert_packages_are_there(image_id)
    seen = dumped(image_id)
    # It did run, in every step, and reached what is its own.
    assert {"sh", "apt-get", "node"} <= {entry["who"] for entry in seen}
    assert any(f"{INSIDE}/build.sh" in entry for entry in seen)
    assert [entry["reached"] for entry in seen] == [[]] * len(seen)
    assert {tuple(entry["interfaces"]) for entry in seen} == {("lo",)}
    build.refresh_from_db()
    end = b""
    for chunk in saved(image_id):
        for secret in (SECRET, TOKEN):
            assert secret.encode() not in end + chunk
        end = chunk[-64:]
    assert not any(secret in build.log for secret in (SECRET, TOKEN))


def test_host_that_is_no_mirror_is_named(made: Callable[..., str], mirrors: Mirrors, settings: Settings) -> None:
    mirrors.elsewhere = f"http://localhost:{mirrors.port}"
    with pytest.raises(BuildFailed, match=rf"pip asked for localhost:{mirrors.port}.*SANDBOX_BUILD_HOSTS"):
        made(PYTHON, pip=["greeting"])


def test_without_its_own_image_nothing_is_fetched(
    made: Callable[..., str], mirrors: Mirrors, settings: Settings
) -> None:
    (settings.SANDBOX_BUILD_CONFIG / "fetch_image").write_text("sandbox-platform/runtime-python:0\n")
    with pytest.raises(BuildFailed, match="make build"):
        made(PYTHON, pip=["greeting"])


@pytest.fixture
def fetched(build: RuntimeBuild, engine: DockerBuildEngine, mirrors: Mirrors) -> Iterator[Callable[..., set[str]]]:
    """Fetches for another Python than any image here has; the names of the wheels."""
    RuntimeBuild.objects.filter(pk=build.pk).update(state=BuildState.BUILDING)
    container = engine.create_builder(engine.image(PYTHON)["Id"], build.pk)
    engine.put(container, INSIDE, {"step": ""})

    def ask(version: str, *packages: str, **files: str) -> set[str]:
        job = {
            "packages": packages, "too_old": False,
            "markers": {"python_version": version, "python_full_version": f"{version}.0"},
            "arguments": [f"--python-version={version}", "--implementation=cp", "--platform=linux_x86_64"],
        }  # fmt: skip
        there: dict[str, str | bytes] = {
            f"installed/{n}-1.0.dist-info/METADATA": text for n, text in files.items()
        }
        fetch(engine, build, Record(build), container, {"pip": job}, there)
        return {Path(path).name.split("-")[0] for path in engine.files(container, f"{INSIDE}/wheels", 1 << 20)}

    yield ask
    engine.remove(container)


@pytest.mark.parametrize(("version", "expected"), [("3.9", "backport"), ("3.11", "modern")])
def test_dependencies_are_those_of_the_images_python(
    fetched: Callable[..., set[str]], version: str, expected: str
) -> None:
    assert fetched(version, "marked") == {"marked", expected}


def test_what_the_image_has_is_kept(fetched: Callable[..., set[str]]) -> None:
    metadata = "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"
    assert fetched("3.11", "needsgreeting", greeting=metadata) == {"needsgreeting"}


def test_package_that_holds_a_mirrors_secret_is_not_installed(
    fetched: Callable[..., set[str]], mirrors: Mirrors
) -> None:
    mirrors.wheels |= dict([wheel("leaky", "1.0", code=f"found = '{SECRET}'\n")])
    with pytest.raises(BuildFailed, match="contains a secret of a mirror"):
        fetched("3.11", "leaky")
