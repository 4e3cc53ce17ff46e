import ipaddress
from pathlib import Path

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from sandbox_platform.kit import callers
from sandbox_platform.kit.callers import remote_address

PROXY, OUTER, CALLER = "10.0.0.1", "10.0.0.2", "203.0.113.9"


@pytest.fixture(autouse=True)
def trusted(settings: Settings) -> None:
    settings.SANDBOX_TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("fd00::/64")]


def address(connection: str, forwarded: str | None = None) -> str | None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return remote_address(RequestFactory(REMOTE_ADDR=connection).get("/", headers=headers))


@pytest.mark.parametrize(
    "forwarded", [CALLER, f" {CALLER} ", f"{CALLER}:4711", f"{CALLER}, {OUTER}", f"::ffff:{CALLER}"]
)
def test_trusted_proxies_say_who_calls(forwarded: str) -> None:
    assert address(PROXY, forwarded) == CALLER


def test_ipv6_too() -> None:
    assert address("fd00::1", "[2001:db8::7]:443") == "2001:db8::7"


def test_what_the_caller_invents_counts_for_nothing() -> None:
    assert address(PROXY, f"192.0.2.1, 10.0.0.7, {CALLER}") == CALLER


def test_nobody_else_is_believed() -> None:
    assert address(CALLER, "192.0.2.1") == CALLER


def test_without_trusted_proxies_the_connection_counts(settings: Settings) -> None:
    settings.SANDBOX_TRUSTED_PROXIES = []
    assert address(PROXY, CALLER) == PROXY


@pytest.mark.parametrize("forwarded", ["", "nonsense", ",", "unknown", f"{CALLER}, nonsense"])
def test_what_is_no_address_ends_the_chain(forwarded: str) -> None:
    assert address(PROXY, forwarded) == PROXY


@pytest.mark.parametrize("connection", ["", "unix:"])
def test_an_unknown_connection_has_no_address(connection: str) -> None:
    assert address(connection, CALLER) is None


# --- Why addresses are not the callers' own ---


def note(connection: str, forwarded: str | None = None) -> str:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return callers.proxy_note(RequestFactory(REMOTE_ADDR=connection).get("/", headers=headers))


def test_a_proxy_that_is_not_trusted_is_named_with_the_setting() -> None:
    said = note("192.0.2.5", CALLER)
    assert "those of the proxy" in said and "SANDBOX_TRUSTED_PROXIES=192.0.2.5/32" in said


@pytest.mark.parametrize(
    ("connection", "forwarded"), [(PROXY, CALLER), (CALLER, None), ("127.0.0.1", None), ("", None)]
)
def test_a_caller_s_own_address_needs_no_word(connection: str, forwarded: str | None) -> None:
    assert note(connection, forwarded) == ""


def test_docker_s_gateway_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_gateway", lambda: "172.18.0.1")
    assert "the gateway of the container's network" in note("172.18.0.1")
    assert note("172.18.0.7") == ""


def test_the_gateway_is_read_from_the_host_s_routes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text(
        "Iface Destination Gateway Flags\neth0 000012AC 00000000 0001\neth0 00000000 010012AC 0003\n"
    )
    monkeypatch.setattr(callers, "ROUTES", routes)
    assert callers._gateway() == "172.18.0.1"
