from pathlib import Path

import pytest

from scripts.host_test import disk, mirrors

ONE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
TWO = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("http_proxy=http://127.0.0.1:3128\n", "http_proxy=http://10.0.2.2:3128\n"),
        ("URIs: http://me:pw@localhost/debian", "URIs: http://me:pw@10.0.2.2/debian"),
        ("URIs: http://localhost.example/debian", "URIs: http://localhost.example/debian"),
        ("URIs: http://mirror.example/127.0.0.1", "URIs: http://mirror.example/127.0.0.1"),
    ],
)
def test_a_mirror_on_this_machine_is_reached_from_the_guest(text: str, seen: str):
    assert mirrors.seen_by_guest(text) == seen


def test_each_certificate_is_a_file():
    assert sorted(mirrors.certificates_of(f"# one\n{ONE}# two\n{TWO}").values()) == [ONE, TWO]


def test_go_is_told_its_mirrors_only():
    told = mirrors.go_settings("GOFLAGS=-x\nGOPROXY=https://old.example\n", {"GOPROXY": "https://new.example"})
    assert told == "GOPROXY=https://new.example\n"


def test_files_with_passwords_are_roots(tmp_path: Path):
    disk.write(tmp_path, "/etc/apt/auth.conf.d/mirror.conf", "password")
    disk.write(tmp_path, "/etc/hostname", "host-test\n")
    assert (tmp_path / "etc/apt/auth.conf.d/mirror.conf").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "etc/hostname").stat().st_mode & 0o777 == 0o644
