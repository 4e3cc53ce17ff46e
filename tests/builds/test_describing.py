"""An image says what it likes: what becomes of that."""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from builds import describing
from builds.making import SCRIPTS
from builds.record import BuildFailed


@pytest.fixture(autouse=True)
def config(tmp_path: Path, settings: Settings) -> Path:
    settings.SANDBOX_BUILD_CONFIG = tmp_path
    settings.SANDBOX_BUILD_HOSTS = []
    return tmp_path


STATUS = b"""Package: dpkg
Status: install ok installed
Architecture: arm64
Version: 1.22
Description: a line
 and another
Conffiles:
 /etc/x 0

Package: libc6
Status: install ok installed
Architecture: arm64
Version: 2.41\x1b[31m
Depends: libgcc-s1
"""
SOURCE = b"Types: deb deb-src\nURIs: %s\nSuites: bookworm bookworm-updates\nComponents: main\n%s"


# --- apt ---


NAMES = {
    "status": describing.STATUS,
    "sources": "/etc/apt/sources.list.d/x.sources",
    "list": "/etc/apt/sources.list",
    "key": "/etc/apt/keyrings/own.gpg",
    "ubuntu": describing.DISTRIBUTION_KEYS[1],
    "preferences": "/etc/apt/preferences.d/x",
    "release": "/etc/os-release",
}


def apt(**files: bytes) -> describing.AptImage:
    return describing.apt_image({NAMES[name]: content for name, content in ({"status": STATUS} | files).items()})


def test_apt_sees_the_installed_packages_and_no_text_of_the_image() -> None:
    image = apt()
    assert image.architectures == ["arm64"]
    assert "Version: 1.22\n" in image.status
    assert "\x1b" not in image.status
    assert not any(word in image.status for word in ("Description", "another", "Conffiles"))


def test_image_without_debian_packages_is_named_as_such() -> None:
    with pytest.raises(BuildFailed, match="images based on Debian"):
        describing.apt_image({"/etc/os-release": b"ID=alpine\n"})


def test_hosts_sources_are_used_for_their_release(config: Path) -> None:
    (config / "apt.sources").write_text("URIs: http://mirror.example/debian\nSuites: trixie trixie-updates\n")
    release = b'ID=debian\nVERSION_CODENAME="trixie"\n'
    assert "mirror.example" in apt(release=release).sources
    assert apt(release=release.replace(b"trixie", b"trix")).sources == ""


def test_archives_of_the_host_are_checked_with_our_keys(config: Path) -> None:
    (config / "apt.sources").write_text("URIs: http://mirror.example/debian\nSuites: trixie\n")
    image = apt(
        sources=SOURCE % (b"http://mirror.example/debian", b"Signed-By: /etc/apt/keyrings/own.gpg\n"), key=b"k"
    )
    assert image.sources == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
        f"Signed-By: {' '.join(describing.DISTRIBUTION_KEYS)}\n"
    )


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/debian", "http://mirror.example.evil.example/", "http://notmirror.example/",
        "https://mirror.example/debian", "file:/etc", "http://mirror.example:81/",
    ],
)  # fmt: skip
def test_other_hosts_of_the_image_are_left_out(config: Path, address: str) -> None:
    (config / "apt.sources").write_text("URIs: http://mirror.example/debian\nSuites: trixie\n")
    assert apt(sources=SOURCE % (address.encode(), b"")).sources == ""
    assert apt(list=b"deb [trusted=yes] " + address.encode() + b" bookworm main\n").sources == ""


def test_named_host_is_checked_with_the_images_key(settings: Settings) -> None:
    settings.SANDBOX_BUILD_HOSTS = ["apt.example"]
    line = b"deb [arch=amd64 signed-by=/etc/apt/keyrings/own.gpg] https://apt.example/pg bookworm-pgdg main # x\n"
    image = apt(list=line, key=b"k")
    assert image.sources == (
        "Types: deb\nURIs: https://apt.example/pg\nSuites: bookworm-pgdg\nComponents: main\n"
        "Signed-By: /fetch/keys/etc/apt/keyrings/own.gpg\n"
    )
    assert image.keys == {"/etc/apt/keyrings/own.gpg": b"k"}


def test_named_archive_of_a_distribution_is_checked_with_our_keys(settings: Settings) -> None:
    settings.SANDBOX_BUILD_HOSTS = ["ubuntu.example"]
    ubuntu = describing.DISTRIBUTION_KEYS[1]
    source = SOURCE % (b"http://ubuntu.example/ubuntu", f"Signed-By: {ubuntu}\n".encode())
    assert apt(sources=source, ubuntu=b"k").sources.endswith(f"\nSigned-By: {ubuntu}\n")


def test_disabled_sources_stay_disabled(settings: Settings) -> None:
    settings.SANDBOX_BUILD_HOSTS = ["apt.example"]
    assert apt(sources=SOURCE % (b"http://apt.example/debian", b"Enabled: no\n")).sources == ""


def test_pins_of_the_image_hold() -> None:
    assert apt(preferences=b"Package: php*\nPin: release *\nPin-Priority: -1\n").preferences.startswith(
        "Package: php*"
    )


# --- pip ---


def facts(**changed: Any) -> dict[str, Any]:
    return {
        "version": [3, 11, 2], "implementation": "cpython", "abi": "cp311", "machine": "x86_64",
        "libc": ["glibc", "2", "36"],
        "markers": {"python_version": "3.11"}, "installed": [],
    } | changed  # fmt: skip


def test_wheels_are_chosen_for_the_images_python() -> None:
    image = describing.python_image(facts())
    assert image.arguments[:4] == [
        "--python-version=3.11.2", "--implementation=cp", "--abi=cp311", "--platform=manylinux_2_36_x86_64",
    ]  # fmt: skip
    assert "--platform=manylinux2014_x86_64" in image.arguments
    assert image.arguments[-1] == "--platform=linux_x86_64"


def test_tags_of_musl_and_of_other_processors() -> None:
    assert list(describing.platforms("musl", 1, 2, "aarch64")) == [
        "musllinux_1_2_aarch64", "musllinux_1_1_aarch64", "musllinux_1_0_aarch64", "linux_aarch64",
    ]  # fmt: skip
    assert "manylinux_2_16_aarch64" not in list(describing.platforms("glibc", 2, 41, "aarch64"))


def test_description_of_a_real_python_holds() -> None:
    done = subprocess.run([sys.executable, SCRIPTS / "facts.py"], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.removeprefix("FACTS python "))
    image = describing.python_image(said)
    assert f"--python-version={platform.python_version()}" in image.arguments
    assert any(folder.startswith("Django-") for folder in map(str.capitalize, image.installed))
    assert "Requires-Dist: asgiref" in next(text for text in image.installed.values() if "Name: Django\n" in text)


def test_what_is_installed_is_written_anew_without_addresses() -> None:
    requires = ["a>=1; python_version < '3.12'", "b @ https://evil.example/b.whl", "c\nName: d"]
    installed = [{"name": "x-y", "version": "1.0", "requires": requires, "extras": ["z"]}]
    image = describing.python_image(facts(installed=installed))
    assert image.installed == {
        "x_y-1.0.dist-info": "Metadata-Version: 2.1\nName: x-y\nVersion: 1.0\n"
        "Requires-Dist: a>=1; python_version < '3.12'\nProvides-Extra: z\n"
    }


@pytest.mark.parametrize(
    "said",
    [
        None, [], {}, facts(version=["a"]), facts(abi="cp311 --index-url=x"), facts(machine="../x"),
        facts(libc=["glibc"]),
        facts(implementation="x"), facts(markers={"python_version": "3\n4"}), facts(markers=[]),
        facts(installed=[{"name": "../x", "version": "1", "requires": [], "extras": []}]),
        facts(installed=[{"name": "x", "version": "../1", "requires": [], "extras": []}]), facts(installed=["x"]),
    ],
)  # fmt: skip
def test_python_that_says_something_else_ends_the_build(said: Any) -> None:
    with pytest.raises(BuildFailed, match="does not say what it is"):
        describing.python_image(said)


def test_python_too_old_for_our_pip_gets_an_older_one() -> None:
    assert describing.python_image(facts(version=[3, 8, 10])).too_old
    with pytest.raises(BuildFailed, match="older than"):
        describing.python_image(facts(version=[3, 7, 3]))


# --- npm ---


def test_packages_in_the_image_keep_their_versions() -> None:
    packages = {
        "node_modules/a": {"version": "1.0.0"}, "node_modules/@x/y": {"version": "2.0.0-rc.1"},
        "node_modules/a/node_modules/b": {"version": "3.0.0"}, "node_modules/c": {"version": "file:/etc"},
        "node_modules/../d": {"version": "1.0.0"}, "node_modules/e": [],
    }  # fmt: skip
    lock = json.dumps({"packages": packages}).encode()
    assert describing.node_modules(lock) == {"a": "1.0.0", "@x/y": "2.0.0-rc.1"}
    assert describing.node_modules(b"") == {}


@pytest.mark.parametrize("lock", [b"{", b"[]", b'{"packages": 1}', b"[" * 100_000])
def test_damaged_lock_ends_the_build(lock: bytes) -> None:
    with pytest.raises(BuildFailed, match="damaged"):
        describing.node_modules(lock)


@pytest.mark.parametrize(
    "said", [None, {"version": "v1.2.3"}, {"version": "1\n", "arch": "x64", "platform": "linux"}]
)
def test_node_that_says_something_else_ends_the_build(said: Any) -> None:
    with pytest.raises(BuildFailed, match="does not say what it is"):
        describing.node_image(said)
