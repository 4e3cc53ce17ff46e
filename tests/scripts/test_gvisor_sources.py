"""gVisor's apt repository, as a signed one of our own: the real one cannot be reached from everywhere."""

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sandboxes.gvisor import version_of
from scripts.setup import gvisor_sources
from scripts.setup.gvisor_sources import OFFICIAL, Repository, fingerprints, from_repository
from scripts.setup.host import SetupError

pytestmark = pytest.mark.skipif(not shutil.which("gpg") or not shutil.which("apt-get"), reason="needs apt and gpg")
CURRENT = "release-20990105.0"


def command(*words: str | Path, home: Path, stdin: bytes = b"") -> bytes:
    environment = {**os.environ, "GNUPGHOME": str(home)}
    return subprocess.run(words, input=stdin, env=environment, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def make_key(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return a function that makes a home of gpg with a new key."""

    def make() -> Path:
        home = tmp_path_factory.mktemp("gpg")
        home.chmod(0o700)
        gpg = ("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "")
        command(*gpg, "--quick-generate-key", "gvisor@example.org", "ed25519", "sign", "never", home=home)
        return home

    return make


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, make_key: Callable[[], Path]) -> Repository:
    root, home = tmp_path_factory.mktemp("repository"), make_key()
    tree = root / "tree"
    for path in (tree / "usr/bin/runsc", tree / "usr/bin/gvisor-bin/sidecar"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho 'runsc version {CURRENT}'\n")
        path.chmod(0o755)
    (tree / "DEBIAN").mkdir()
    architecture = command("dpkg", "--print-architecture", home=home).decode().strip()
    control = f"Package: runsc\nVersion: 20990105.0\nArchitecture: {architecture}\nMaintainer: x\nDescription: x\n"
    (tree / "DEBIAN/control").write_text(control)
    (root / "pool").mkdir()
    command("dpkg-deb", "--build", tree, root / "pool/runsc.deb", home=home)
    package = (root / "pool/runsc.deb").read_bytes()
    digest = hashlib.sha256(package).hexdigest()
    listed = f"{control}Filename: pool/runsc.deb\nSize: {len(package)}\nSHA256: {digest}\n".encode()
    folder = root / f"dists/release/main/binary-{architecture}"
    folder.mkdir(parents=True)
    packed = gzip.compress(listed)
    (folder / "Packages.gz").write_bytes(packed)
    name = f"main/binary-{architecture}/Packages"
    sums = "".join(
        f" {hashlib.sha256(content).hexdigest()} {len(content)} {path}\n"
        for path, content in ((name, listed), (f"{name}.gz", packed))
    )
    release = f"Suite: release\nArchitectures: {architecture}\nComponents: main\nSHA256:\n{sums}"
    signed = command("gpg", "--batch", "--clearsign", home=home, stdin=release.encode())
    (root / "dists/release/InRelease").write_bytes(signed)
    return described(root, home)


def described(root: Path, home: Path) -> Repository:
    key = command("gpg", "--armor", "--export", home=home)
    path = root / f"{home.name}.key"
    path.write_bytes(key)
    return Repository(f"file://{root}", f"file://{path}", fingerprints(key.decode())[0])


def test_package_is_unpacked_and_nothing_else_is_left(repository: Repository, tmp_path: Path) -> None:
    from_repository(tmp_path, repository)
    assert version_of(tmp_path / "runsc") == CURRENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gvisor-bin", "runsc"]


def test_another_key_is_refused(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="signed by another key"):
        from_repository(tmp_path, replace(repository, fingerprint=OFFICIAL.fingerprint))


def test_what_another_key_signed_is_refused(
    repository: Repository, make_key: Callable[[], Path], tmp_path: Path
) -> None:
    root = Path(repository.url.removeprefix("file://"))
    with pytest.raises(SetupError, match="apt-get"):
        from_repository(tmp_path, described(root, make_key()))


def test_a_changed_package_is_refused(repository: Repository, tmp_path: Path) -> None:
    package = Path(repository.url.removeprefix("file://")) / "pool/runsc.deb"
    content = package.read_bytes()
    package.write_bytes(content[:-1] + b"x")
    with pytest.raises(SetupError, match="apt-get"):
        from_repository(tmp_path, repository)
    package.write_bytes(content)


def test_a_repository_that_cannot_be_reached(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="not reachable"):
        from_repository(tmp_path, replace(repository, key_url="http://127.0.0.1:1/archive.key"))


def test_a_go_from_before_toolchains_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("old", "1.19.8"), ("new", "1.22.2")):
        path = tmp_path / name / "go"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
        path.chmod(0o755)
    monkeypatch.setattr(
        gvisor_sources, "on_path", lambda name: [str(tmp_path / "old/go"), str(tmp_path / "new/go")]
    )
    assert gvisor_sources.usable_go() == str(tmp_path / "new/go")
