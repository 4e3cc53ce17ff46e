from pathlib import Path

import pytest

from scripts.setup import apt
from scripts.setup.apt import Source, derive, parse_deb822, parse_one_line, read_sources
from scripts.setup.host import Release

DEB822 = """\
# the archive
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
# a comment inside a paragraph
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://old.example/debian
Suites: bookworm
Components: main
"""


def test_deb822_sources_are_read_without_disabled_ones() -> None:
    archive, security = parse_deb822(DEB822)
    assert archive.uris == ("http://mirror.example/debian",)
    assert archive.suites == ("bookworm", "bookworm-updates")
    assert archive.signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert security.suites == ("bookworm-security",)


def test_a_source_only_source_is_no_binary_mirror() -> None:
    assert parse_deb822("Types: deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\n") == []


def test_an_inline_key_stays_on_its_lines() -> None:
    text = "Types: deb\nURIs: http://m.example\nSuites: trixie\nSigned-By:\n -----BEGIN\n .\n abc\n"
    (source,) = parse_deb822(text)
    assert source.render().endswith("Signed-By: \n -----BEGIN\n .\n abc\n")


def test_one_line_sources_are_read_with_their_options() -> None:
    text = """\
# deb http://off.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # why
"""
    assert parse_one_line(text) == [
        Source(("http://mirror.example/debian",), ("bookworm",), ("main", "contrib"), "/k.gpg")
    ]


def test_debian_13_comes_from_the_mirrors_that_serve_debian_12() -> None:
    sources = [*parse_deb822(DEB822), Source(("http://vendor.example",), ("bookworm-vendor",), ("main",))]
    archive, security = derive(sources, "bookworm", ["trixie", "bookworm-backports"], ["trixie-security"])
    assert archive.uris == ("http://mirror.example/debian",)
    assert archive.suites == ("trixie", "bookworm-backports")
    assert archive.components == ("main",)
    assert archive.signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert security.uris == ("http://mirror.example/debian-security",)
    assert security.suites == ("trixie-security",)


def test_a_mirror_listed_twice_is_derived_once() -> None:
    one = Source(("http://mirror.example/debian",), ("bookworm",), ("main",))
    assert len(derive([one, one], "bookworm", ["trixie"], [])) == 1


def test_a_machine_of_another_release_yields_nothing() -> None:
    assert derive([Source(("http://m.example",), ("noble",), ("main",))], "bookworm", ["trixie"], []) == []


def test_both_forms_are_read_and_other_files_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example bookworm main\n")
    (folder / "two.sources").write_text(
        "Types: deb\nURIs: http://two.example\nSuites: bookworm\nComponents: main\n"
    )
    (folder / "three.list.save").write_text("deb http://three.example bookworm main\n")
    assert [source.uris[0] for source in read_sources(tmp_path)] == [
        "http://one.example",
        "http://two.example",
    ]


def test_debian_12_takes_each_package_from_a_named_suite() -> None:
    names = apt.package_names(["docker", "gvisor", "iptables"], Release("debian", "12", "bookworm"))
    assert names == [
        "docker.io/trixie",
        "containerd/trixie",
        "docker-cli/trixie",
        "runsc/bookworm-backports",
        "iptables",
    ]


def test_debian_13_and_ubuntu_take_their_own_packages() -> None:
    assert apt.package_names(["compose"], Release("debian", "13", "trixie")) == ["docker-compose"]
    assert apt.package_names(["compose"], Release("ubuntu", "24.04", "noble")) == ["docker-compose-v2"]


def test_erofs_comes_from_the_release_itself() -> None:
    for here in (Release("debian", "12", "bookworm"), Release("ubuntu", "24.04", "noble")):
        assert apt.package_names(["erofs"], here) == ["erofs-utils"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "Get:5 http://mirror.example/debian trixie/main amd64 docker.io amd64 26.1.5 [19.7 MB]",
            "apt: fetching trixie/main amd64 docker.io amd64 26.1.5 [19.7 MB]",
        ),
        ("Unpacking docker.io (26.1.5+dfsg1-9) ...", "apt: unpacking docker.io"),
        ("Setting up containerd (1.7.24) ...", "apt: setting up containerd"),
        ("Reading package lists...", ""),
    ],
)
def test_progress_is_told_without_the_mirrors_address(line: str, told: str) -> None:
    assert apt.progress(line) == told
