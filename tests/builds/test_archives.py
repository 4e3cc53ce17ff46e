import io
import itertools
import tarfile

import pytest

from builds import archives


def test_files_are_for_their_owner_only() -> None:
    packed = archives.packed("/run/secrets", {"ca": "x", "keys/etc/a.gpg": b"\0"}, owner=7)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        entries = {entry.name: (oct(entry.mode), entry.uid, entry.isdir()) for entry in tar}
    assert entries == {
        "run/secrets": ("0o700", 7, True),
        "run/secrets/ca": ("0o600", 7, False),
        "run/secrets/keys": ("0o700", 7, True),
        "run/secrets/keys/etc": ("0o700", 7, True),
        "run/secrets/keys/etc/a.gpg": ("0o600", 7, False),
    }


def test_regular_files_of_an_image_are_read_by_path() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("keys/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        tar.addfile(link)
        entry = tarfile.TarInfo("keys/a")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"ab"))
    assert archives.unpacked([buffer.getvalue()], "/etc", 1 << 20) == {"/etc/keys/a": b"ab"}


def test_images_file_that_is_too_large_is_not_read() -> None:
    with pytest.raises(ValueError, match="more than 100 bytes"):
        archives.unpacked(itertools.repeat(b"x" * 64), "/", 100)


def test_folder_with_too_many_files_is_refused() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(archives.MAX_FILES + 1):
            tar.addfile(tarfile.TarInfo(str(number)))
    with pytest.raises(ValueError, match="more than"):
        archives.unpacked([buffer.getvalue()], "/", 1 << 30)


@pytest.mark.parametrize("chunks", [[b"..secret-1.."], [b"..sec", b"ret-1.."], [b"..s", b"ecret-", b"1"]])
def test_chunk_that_completes_a_secret_does_not_leave(chunks: list[bytes]) -> None:
    passed = []
    with pytest.raises(ValueError, match="secret"):
        passed += archives.without(chunks, ["secret-1", "other-secret"])
    assert b"secret-1" not in b"".join(passed)


def test_chunks_without_a_secret_are_unchanged() -> None:
    assert list(archives.without([b"a", b"b"], [])) == [b"a", b"b"]
    assert list(archives.without([b"secret", b"-2"], ["secret-1"])) == [b"secret", b"-2"]
