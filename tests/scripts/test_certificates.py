import subprocess
from pathlib import Path

import pytest

from scripts.setup.certificates import (
    PipConfig,
    pip_config_files,
    read_npmrc,
    read_pip_config,
    write_build_config,
)


def pip_conf(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_the_last_file_wins_and_the_environment_over_all(tmp_path: Path) -> None:
    files = [
        pip_conf(tmp_path, "a", "[global]\nindex-url = https://a.example/simple\ncert = /a.pem\n"),
        pip_conf(tmp_path, "b", "[install]\nindex-url = https://b.example/simple\n"),
    ]
    assert read_pip_config(files, {}).index_url == "https://b.example/simple"
    assert read_pip_config(files, {}).cert == "/a.pem"
    environ = {"PIP_INDEX_URL": "https://c.example/simple"}
    assert read_pip_config(files, environ).index_url == "https://c.example/simple"


def test_local_indexes_wheel_folders_and_constraints_are_left_out(tmp_path: Path) -> None:
    text = """\
[global]
extra-index-url = file:///opt/simple https://extra.example/simple
find-links = /opt/wheels
constraint = /etc/constraints.txt
"""
    config = read_pip_config([pip_conf(tmp_path, "pip.conf", text)], {"PIP_FIND_LINKS": "/opt/wheels"})
    assert config.extra_index_urls == ("https://extra.example/simple",)
    assert config.render("/ca") == "[global]\nextra-index-url = https://extra.example/simple\ncert = /ca\n"


def test_a_rendered_configuration_reads_back_the_same(tmp_path: Path) -> None:
    config = PipConfig(
        "https://a.example/s", ("https://b.example/s", "https://c.example/s"), ("a.example",), "/ca"
    )
    assert read_pip_config([pip_conf(tmp_path, "pip.conf", config.render("/ca"))], {}) == config


def test_missing_and_broken_files_are_passed_over(tmp_path: Path) -> None:
    files = [tmp_path / "none", pip_conf(tmp_path, "broken", "index-url = no section\n")]
    assert read_pip_config(files, {}) == PipConfig()


def test_a_password_with_a_percent_sign_survives(tmp_path: Path) -> None:
    path = pip_conf(tmp_path, "pip.conf", "[global]\nindex-url = https://u:p%40ss@a.example/simple\n")
    assert read_pip_config([path], {}).index_url == "https://u:p%40ss@a.example/simple"


def test_the_named_file_is_read_last_and_devnull_switches_files_off() -> None:
    assert pip_config_files({"HOME": "/h", "PIP_CONFIG_FILE": "/x/pip.conf"})[-1] == Path("/x/pip.conf")
    assert pip_config_files({"PIP_CONFIG_FILE": "/dev/null"}) == []


def test_uv_gets_the_mirrors_and_downloads_no_python() -> None:
    env = PipConfig("https://a.example/s", ("https://b.example/s",)).uv_environment()
    assert env["UV_DEFAULT_INDEX"] == "https://a.example/s"
    assert env["UV_INDEX"] == "https://b.example/s"
    assert env["UV_PYTHON_DOWNLOADS"] == "never"


def test_npm_keeps_registry_and_login_and_gets_the_builds_certificates() -> None:
    system = "registry=https://one.example/\ncafile=/etc/ssl/ca.pem\nfund=false\n"
    user = "registry=https://two.example/\n//two.example/:_authToken=${TOKEN}\n@us:registry=https://us.example/\n"
    assert read_npmrc([system, user], {"TOKEN": "t0k"}, "/run/secrets/ca").splitlines() == [
        "registry=https://two.example/",
        "//two.example/:_authToken=t0k",
        "@us:registry=https://us.example/",
        "cafile=/run/secrets/ca",
    ]


def test_npms_environment_variable_wins() -> None:
    environ = {"NPM_CONFIG_REGISTRY": "https://env.example/"}
    assert read_npmrc(["registry=https://file.example/\n"], environ, "") == "registry=https://env.example/\n"


def test_builds_configuration_is_readable_by_its_owner_and_group_only(tmp_path: Path) -> None:
    write_build_config(tmp_path / "config")
    assert {"ca", "pip_conf", "npmrc", "apt_conf", "apt.sources", "environment", "fetch_image"} == {
        path.name for path in (tmp_path / "config").iterdir()
    }
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "config").iterdir()}
    assert (modes, (tmp_path / "config").stat().st_mode & 0o777) == ({0o640}, 0o750)


def test_builds_proxies_are_words_of_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://a:'$(id)'@proxy.example")
    write_build_config(tmp_path / "config")
    script = '. ./environment; printf %s "$http_proxy"'
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path / "config", capture_output=True, text=True, check=True
    )
    assert done.stdout == "http://a:'$(id)'@proxy.example"
