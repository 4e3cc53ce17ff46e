from pathlib import Path

import pytest

from scripts.release import debian
from scripts.setup import apt
from scripts.setup.host import ROOT, SetupError

STATUS = b"""Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2-3

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def test_only_installed_packages_count() -> None:
    assert debian.installed(STATUS) == {"bash": "5.2-3"}


def test_packages_of_all_images_are_one_list() -> None:
    assert debian.together([{"a": "1", "b": "2"}, {"b": "2", "c": "3"}]) == {"a": "1", "b": "2", "c": "3"}


def test_an_archive_that_changes_between_two_images_is_refused() -> None:
    with pytest.raises(SetupError, match="1 in one image, 2 in another"):
        debian.together([{"a": "1"}, {"a": "2"}])


def test_lock_is_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "scripts/release").mkdir(parents=True)
    packages = {"libc6": "2.41-12", "bash": "5.2-3"}
    debian.lock_path(tmp_path, "amd64").write_text(debian.render(packages, "20261129T220000Z"))
    assert debian.read_lock(tmp_path, "amd64") == (packages, "20261129T220000Z")
    with pytest.raises(SetupError, match="no packages are pinned for arm64"):
        debian.read_lock(tmp_path, "arm64")


@pytest.mark.parametrize(
    ("pinned", "whole", "line"),
    [
        ({"a": "2"}, True, "a 1, pinned: 2"),
        ({}, False, "a 1, pinned: none"),
        ({"a": "1", "b": "1"}, True, "b is pinned and in no image"),
    ],
)
def test_other_packages_than_pinned_are_told(pinned: dict[str, str], whole: bool, line: str) -> None:
    assert debian.differences({"a": "1"}, pinned, whole=whole) == [line]


def test_some_of_the_images_need_not_have_all_packages() -> None:
    assert debian.differences({"a": "1"}, {"a": "1", "b": "1"}, whole=False) == []
    assert debian.differences({"a": "1"}, {"a": "1"}, whole=True) == []


def test_snapshot_is_a_source_of_apt_for_each_archive_of_debian() -> None:
    text = debian.snapshot_sources("https://old.example/archive/", "20261129T220000Z")
    first, second = apt.parse_deb822(text)
    assert first.uris == ("https://old.example/archive/debian/20261129T220000Z",)
    assert first.suites == ("trixie", "trixie-updates")
    assert second.uris == ("https://old.example/archive/debian-security/20261129T220000Z",)
    assert second.suites == ("trixie-security",)
    assert text.count("Check-Valid-Until: no") == 2


def test_packages_of_this_version_are_pinned() -> None:
    packages, moment = debian.read_lock(ROOT, "amd64")
    assert {"libc6", "postgresql-17", "squid", "python3.13-minimal", "skopeo", "buildah"} <= packages.keys()
    assert moment
