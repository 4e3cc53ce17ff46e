from ipaddress import ip_network
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from sandbox_platform.kit import env


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("10s", 10_000),
        ("250ms", 250),
        ("1m", 60_000),
        ("1m30s", 90_000),
        ("2h", 7_200_000),
        ("1.5s", 1500),
        (" 10s ", 10_000),
    ],
)
def test_duration_with_unit(text: str, milliseconds: int) -> None:
    assert env.parse_duration(text) == milliseconds


def test_networks_in_cidr_form() -> None:
    assert env.parse_networks("10.1.0.0/16, fd00::/8") == [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    "text", ["10.1.2.3", "10.1.2.3/16", "10.1.0.0/33", "example.com/8", "10.1.0.0/16,", "all"]
)
def test_networks_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 10.1.0.0/16"):
        env.parse_networks(text)


def test_hosts_with_and_without_a_port() -> None:
    assert env.parse_hosts("Mirror.example.com, 10.1.2.3:8080") == ["mirror.example.com", "10.1.2.3:8080"]


@pytest.mark.parametrize(
    "text", ["https://mirror.example.com", "*", "a/b", "a:0", "a:70000", "a:b", ".example.com"]
)
def test_hosts_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write mirror.example.com"):
        env.parse_hosts(text)


@pytest.mark.parametrize("text", ["60", "", "s", "-5s", "10 s", "10sec", "0s", "5s1m", "1d", "ten seconds"])
def test_duration_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be greater|not a duration"):
        env.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("256m", 256 * 1024**2), ("1g", 1024**3), ("512K", 512 * 1024), ("70000000b", 70_000_000)]
)
def test_memory_with_unit(text: str, size: int) -> None:
    assert env.parse_memory(text) == size


@pytest.mark.parametrize("text", ["256", "0m", "", "m", "1.5g", "256mb", "-1g", "1t"])
def test_memory_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a memory size"):
        env.parse_memory(text)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("1", True), ("false", False), ("0", False)]
)
def test_bool(text: str, value: bool) -> None:
    assert env.parse_bool(text) is value


@pytest.mark.parametrize("text", ["yes", "on", "ture", " "])
def test_bool_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither true nor false"):
        env.parse_bool(text)


def test_timeout_without_unit_stops_the_start_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_TIMEOUT", "60")
    with pytest.raises(ImproperlyConfigured, match=r"SANDBOX_TIMEOUT: '60' .* write 10s"):
        env.envduration("SANDBOX_TIMEOUT", "10s")


def test_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_TIMEOUT", "")
    assert env.envduration("SANDBOX_TIMEOUT", "10s") == 10_000


def test_int_below_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_WORKERS", "0")
    with pytest.raises(ImproperlyConfigured, match="SANDBOX_WORKERS: 0 is below 1"):
        env.envint("SANDBOX_WORKERS", 8, minimum=1)


GIB = 1 << 30


@pytest.mark.parametrize(
    ("value", "cores", "memory", "workers"),
    [
        pytest.param("3", 8, 64 * GIB, 3, id="a number is taken as it is"),
        pytest.param("", 8, 64 * GIB, 5, id="without a value it is the default"),
        pytest.param("auto", 2, 64 * GIB, 8, id="four for each core"),
        pytest.param("auto", 8, 4 * GIB, 14, id="no more than the memory has room for"),
        pytest.param("auto", 8, GIB // 4, 1, id="at least one"),
    ],
)
def test_workers(monkeypatch: pytest.MonkeyPatch, value: str, cores: int, memory: int, workers: int) -> None:
    monkeypatch.setenv("SANDBOX_WORKERS", value)
    monkeypatch.setenv("SANDBOX_NODE_MEMORY", str(memory))
    assert env.envworkers("SANDBOX_WORKERS", 5, cores=cores, largest_bytes=GIB // 4) == workers


def test_workers_of_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_WORKERS", "automatic")
    with pytest.raises(ImproperlyConfigured, match="SANDBOX_WORKERS"):
        env.envworkers("SANDBOX_WORKERS", 5, cores=2, largest_bytes=GIB)


def test_int_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_WORKERS", "many")
    with pytest.raises(ImproperlyConfigured, match="SANDBOX_WORKERS"):
        env.envint("SANDBOX_WORKERS", 8)


def test_list_drops_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTS", "a, b,,")
    assert env.envlist("HOSTS") == ["a", "b"]


def test_secret_from_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("hidden\n")
    monkeypatch.setenv("KEY_FILE", str(path))
    monkeypatch.setenv("KEY", "open")
    assert env.envsecret("KEY") == "hidden"


def test_secret_from_missing_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "nothing"))
    with pytest.raises(ImproperlyConfigured, match="KEY_FILE"):
        env.envsecret("KEY")


def test_secret_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    monkeypatch.delenv("KEY_FILE", raising=False)
    assert env.envsecret("KEY") == ""


@pytest.mark.parametrize(("text", "size"), [("", 5 * 2**30), ("0", 0), ("3m", 3 * 2**20)])
def test_quota_is_a_size_or_zero_for_none(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("A_QUOTA", text)
    assert env.envquota("A_QUOTA", "5g") == size


def test_quota_without_a_unit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_QUOTA", "5")
    with pytest.raises(ImproperlyConfigured, match="A_QUOTA: .* write 256m or 1g"):
        env.envquota("A_QUOTA", "5g")
