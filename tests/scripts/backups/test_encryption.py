"""An archive for somebody's key opens with that key only."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup.backups import encryption, restoring
from scripts.setup.host import SetupError

pytestmark = pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed: make prepare_tests")


def make_key(path: Path) -> str:
    """Return the public key."""
    subprocess.run(["age-keygen", "-o", path], check=True, capture_output=True)
    return path.read_text().split("public key: ")[1].split()[0]


@pytest.fixture
def encrypted(make_archive: Callable[..., Path], tmp_path: Path) -> Path:
    plain = make_archive()
    public = make_key(tmp_path / "key")
    encryption.encrypt(plain, tmp_path / "backup.tar.age", encryption.options(public, passphrase=False))
    plain.unlink()
    return tmp_path / "backup.tar.age"


def test_its_key_opens_it(encrypted: Path, tmp_path: Path) -> None:
    assert encrypted.stat().st_mode & 0o777 == 0o600
    assert b"of the backup" not in encrypted.read_bytes()
    with restoring.opened(encrypted, str(tmp_path / "key")) as (manifest, _):
        assert manifest.node == "node-1"


def test_another_key_does_not(encrypted: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    with pytest.raises(SetupError, match="no identity matched"):
        restoring.opened(encrypted, str(tmp_path / "other")).__enter__()


def test_a_changed_byte_is_found(encrypted: Path, tmp_path: Path) -> None:
    content = encrypted.read_bytes()
    encrypted.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    with pytest.raises(SetupError, match="decrypt"):
        restoring.opened(encrypted, str(tmp_path / "key")).__enter__()


def test_a_file_of_recipients_is_taken(tmp_path: Path) -> None:
    assert encryption.options("age1abc, ~/keys", passphrase=False) == [
        "--recipient", "age1abc", "--recipients-file", str(Path.home() / "keys")
    ]  # fmt: skip


def test_a_wrong_recipient_leaves_no_file(make_archive: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="RECIPIENT"):
        encryption.encrypt(make_archive(), tmp_path / "out.age", ["--recipient", "age1nonsense"])
    assert not list(tmp_path.glob("out*"))
