from pathlib import Path

import pytest
from pytest_django import Settings

from builds import mirrors


@pytest.fixture(autouse=True)
def config(tmp_path: Path, settings: Settings) -> Path:
    settings.SANDBOX_BUILD_CONFIG = tmp_path
    settings.SANDBOX_BUILD_HOSTS = []
    return tmp_path


DEFAULTS = {
    "pip": "https://index.example/simple",
    "pip_files": "https://files.example",
    "npm": "https://registry.example/",
}
DEBIAN = "Types: deb\nURIs: http://apt.example/debian\nSuites: trixie\n"


def test_without_a_configuration_the_installers_defaults_are_reached_directly() -> None:
    assert mirrors.read(DEBIAN, DEFAULTS).routes == {
        "apt": {"apt.example:80": ""},
        "pip": {"index.example:443": "", "files.example:443": ""},
        "npm": {"registry.example:443": ""},
    }


def test_each_installer_reaches_its_own_mirrors_only(config: Path) -> None:
    (config / "pip_conf").write_text(
        "[global]\nindex-url = https://u:p@pip.example/simple\nextra-index-url = http://a.example:81/x\n    https://b.example/\n"
    )
    (config / "npmrc").write_text("registry=https://npm.example/\n@ours:registry=http://own.example:4873/\n")
    assert mirrors.read("", DEFAULTS).routes == {
        "apt": {},
        "pip": {"pip.example:443": "", "a.example:81": "", "b.example:443": ""},
        "npm": {"npm.example:443": "", "own.example:4873": ""},
    }


def test_named_hosts_are_added_for_all(settings: Settings) -> None:
    settings.SANDBOX_BUILD_HOSTS = ["files.example", "other.example:8080"]
    for routes in mirrors.read("", DEFAULTS).routes.values():
        assert {"files.example:80", "files.example:443", "other.example:8080"} <= set(routes)


def test_hosts_proxies_lead_to_the_mirrors(config: Path) -> None:
    (config / "environment").write_text(
        "export http_proxy=http://web.example:1\nexport https_proxy='http://u:p w@web.example:2'\n"
        "export no_proxy=b.example\n"
    )
    (config / "apt_conf").write_text('Acquire::http::Proxy "http://cache.example:3142";\n')
    (config / "npmrc").write_text("registry=https://npm.example/\nhttps-proxy=http://npm-proxy.example:3\n")
    (config / "pip_conf").write_text(
        "[global]\nindex-url = https://a.example/\nextra-index-url = https://b.example/\n"
    )
    found = mirrors.read(DEBIAN, DEFAULTS)
    assert found.routes == {
        "apt": {"apt.example:80": "http://cache.example:3142"},
        "pip": {"a.example:443": "http://u:p w@web.example:2", "b.example:443": ""},
        "npm": {"npm.example:443": "http://npm-proxy.example:3"},
    }
    # The fetching container knows the forwarder only.
    assert not any("proxy" in text.lower() or "cache.example" in text for text in found.files.values())


def test_apt_reaches_a_host_directly_where_its_configuration_says_so(config: Path) -> None:
    (config / "apt_conf").write_text(
        'Acquire::http::Proxy "http://cache.example:3142";\nAcquire::http::Proxy::apt.example "DIRECT";\n'
        'Acquire::https::CAInfo "/run/secrets/ca";\n'
    )
    found = mirrors.read(DEBIAN, DEFAULTS)
    assert found.routes["apt"] == {"apt.example:80": ""}
    assert found.files["apt_conf"] == 'Acquire::https::CAInfo "/run/secrets/ca";\n'


def test_secrets_are_found_wherever_a_mirror_has_one(config: Path) -> None:
    (config / "pip_conf").write_text("[global]\nindex-url = https://me:pip%2Fpassword@pip.example/simple\n")
    (config / "npmrc").write_text("registry=https://npm.example/\n//npm.example/:_authToken=npm-token-1\n")
    (config / "environment").write_text("export https_proxy=http://proxy-token@web.example:2\n")
    sources = "Types: deb\nURIs: https://me:apt-password@apt.example/debian\n"
    found = set(mirrors.read(sources, DEFAULTS).secrets)
    assert {
        "pip%2Fpassword",
        "pip/password",
        "npm-token-1",
        "proxy-token",
        "me:apt-password",
        "apt-password",
    } <= found


def test_mirrors_secrets_are_in_no_trace_of_an_error(config: Path) -> None:
    (config / "npmrc").write_text("//npm.example/:_authToken=npm-token-1\n")
    assert "npm-token-1" not in repr(mirrors.read("", DEFAULTS))


@pytest.mark.parametrize(
    ("direct", "expected"),
    [("", "p"), ("*", ""), ("example", ""), (".example", ""), ("other, b.example:443", ""), ("ample", "p")],
)
def test_hosts_that_need_no_proxy(direct: str, expected: str) -> None:
    assert mirrors._unless_direct("p", "b.example", direct) == expected
