"""A layer's digest follows from its files, and from nothing else that a build leaves in the archive."""

import io
import random
import tarfile

import pytest

from scripts.release.layers import ATTRIBUTE, Layer, rewrite
from tests.scripts.release.making import Entry, entry, folder, layer, link

EPOCH = 1_800_000_000
CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00\xff\xfe".decode(errors="surrogateescape")


def files(**changed: object) -> list[Entry]:
    return [
        folder("etc"),
        entry("etc/passwd", b"root:x:0:0", mode=0o644),
        entry("etc/café", b"name beyond ASCII"),
        folder("usr"),
        entry(
            "usr/tool", b"program", mode=0o4755, uid=0, gid=13, pax_headers={f"{ATTRIBUTE}security.x": CAPABILITY}
        ),
        link("usr/same", "usr/tool"),
        link("usr/soft", "tool", tarfile.SYMTYPE),
        entry("usr/.wh.gone"),
        entry("var/lib/dpkg/status", b"Package: x\n"),
        entry("long/" + "n" * 150, b"long name"),
        entry("new", **{"content": b"new", "mtime": EPOCH + 5, **changed}),  # type: ignore[arg-type]
    ]


def written(entries: list[Entry], mode: str = "w") -> tuple[Layer, bytes]:
    out = io.BytesIO()
    found = rewrite(io.BytesIO(layer(entries, mode)), out, EPOCH)
    return found, out.getvalue()


def digest(entries: list[Entry], mode: str = "w") -> str:
    return written(entries, mode)[0].digest


def test_order_of_the_entries_is_not_told() -> None:
    shuffled = files()
    random.Random(20).shuffle(shuffled)
    assert shuffled != files()
    assert digest(shuffled) == digest(files())


@pytest.mark.parametrize(
    "other",
    [
        {"mtime": EPOCH + 77.5},
        {"uname": "builder", "gname": "builder"},
        {"pax_headers": {"atime": "1.5", "ctime": "2.5", "LIBARCHIVE.creationtime": "3"}},
    ],
)
def test_what_a_build_leaves_beside_the_files_is_not_told(other: dict[str, object]) -> None:
    assert digest(files(**other)) == digest(files())


def test_compression_and_names_from_here_are_not_told() -> None:
    dotted = files()
    for info, _ in dotted:
        info.name = f"./{info.name}"
        if info.islnk():
            info.linkname = f"./{info.linkname}"
    assert digest(dotted) == digest(files(), "w:gz") == digest(files())


@pytest.mark.parametrize(
    "other",
    [
        {"content": b"neW"},
        {"mode": 0o600},
        {"uid": 1},
        {"mtime": EPOCH - 1},
        {"pax_headers": {f"{ATTRIBUTE}security.y": "1"}},
        {"name": "other"},
    ],
)
def test_every_change_of_a_file_is_another_digest(other: dict[str, object]) -> None:
    changed = [
        (
            entry(str(other["name"]), b"new", mtime=EPOCH)
            if "name" in other and info.name == "new"
            else (info, content)
        )
        for info, content in files(**{name: value for name, value in other.items() if name != "name"})
    ]
    assert digest(changed) != digest(files())


def test_times_end_at_the_release_and_older_ones_stay() -> None:
    _, data = written(files())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert (tar.getmember("new").mtime, tar.getmember("etc/passwd").mtime) == (EPOCH, 1_700_000_000)


def test_names_of_one_file_stay_one_file_whichever_comes_first() -> None:
    one = [entry("a", b"data", mode=0o755), link("b", "a"), link("c", "a")]
    other = [entry("c", b"data", mode=0o755), link("a", "c"), link("b", "c")]
    assert digest(one) == digest(other)
    with tarfile.open(fileobj=io.BytesIO(written(other)[1])) as tar:
        assert [(m.name, m.islnk(), m.linkname) for m in tar] == [
            ("a", False, ""),
            ("b", True, "a"),
            ("c", True, "a"),
        ]
        content = tar.extractfile("a")
        assert content and content.read() == b"data"


def test_rights_attributes_and_links_are_kept() -> None:
    _, data = written(files())
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        file = tar.getmember("usr/same")  # the first name of the two
        assert (file.mode, file.gid, file.pax_headers[f"{ATTRIBUTE}security.x"]) == (0o4755, 13, CAPABILITY)
        assert tar.getmember("usr/soft").linkname == "tool"
        assert tar.getmember("usr/.wh.gone").isreg()
        assert [m.name for m in tar] == sorted(m.name for m in tar)


def test_digest_and_size_are_those_of_the_bytes() -> None:
    import hashlib

    found, data = written(files())
    assert (found.digest, found.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def test_files_that_differ_are_found_by_name() -> None:
    one, other = written(files())[0], written(files(content=b"neW"))[0]
    assert {name for name in one.files if one.files[name] != other.files[name]} == {"new"}


def test_packages_of_debian_are_handed_out() -> None:
    assert written(files())[0].status == b"Package: x\n"
    assert written([entry("a")])[0].status is None
