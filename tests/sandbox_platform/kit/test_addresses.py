"""Where a callback may go: the table of those who would like it to go elsewhere."""

import ipaddress
import socket
from typing import Any

import pytest
from pytest_django import Settings

from sandbox_platform.kit import addresses
from sandbox_platform.kit.addresses import Refused, Target, check_url, is_allowed, resolve

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700:4700::1111",
    "2a00:1450::1",
]
NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 -- compared, not bound
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",  # carrier-grade NAT
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",  # the clouds' metadata
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # compatible
    "::8.8.8.8",
    "::ffff:127.0.0.1",  # mapped
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",  # translated
    "64:ff9b::127.0.0.1",  # NAT64
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::10.0.0.1",
    "100::1",
    "2001::1",  # Teredo
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_called(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_all_others_are_not(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address))


def test_an_allowed_network_is_called_and_no_more_than_that(settings: Settings) -> None:
    settings.SANDBOX_CALLBACK_NETWORKS = [ipaddress.ip_network("10.1.0.0/16")]
    answers = [
        is_allowed(ipaddress.ip_address(a)) for a in ("10.1.2.3", "10.2.0.1", "::ffff:10.1.2.3", "127.0.0.1")
    ]
    assert answers == [True, False, False, False]


# --- URLs ---


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://example.com", Target("http", "example.com", 80, "/")),
        ("https://Example.com/Hook?a=%20b", Target("https", "example.com", 443, "/Hook?a=%20b")),
        ("https://example.com:8443?x", Target("https", "example.com", 8443, "/?x")),
        ("https://[2606:4700:4700::1111]/", Target("https", "2606:4700:4700::1111", 443, "/")),
        ("https://example.com:443/", Target("https", "example.com", 443, "/")),
        ("https://a_b.example.com./", Target("https", "a_b.example.com.", 443, "/")),
    ],
)
def test_urls_are_taken_apart(url: str, target: Target) -> None:
    assert Target.parse(url) == target


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "visible ASCII"),
        ("example.com/hook", "begin with http"),
        ("//example.com/hook", "begin with http"),
        ("ftp://example.com", "begin with http"),
        ("file:///etc/passwd", "begin with http"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "begin with http"),
        ("http:example.com", "no valid host"),
        ("http://", "no valid host"),
        ("http:///hook", "no valid host"),
        ("http://user:secret@example.com", "must not contain a user name"),
        ("http://example.com@127.0.0.1/", "must not contain a user name"),
        ("http://@example.com/", "must not contain a user name"),
        ("http://example.com/#fragment", "must not contain a fragment"),
        ("http://example.com#@127.0.0.1/", "must not contain a fragment"),
        ("http://example.com\\@127.0.0.1/", "visible ASCII"),
        ("http://example.com/a b", "visible ASCII"),
        ("http://example.com/\r\nHost: x", "visible ASCII"),
        ("http://example.com/\0", "visible ASCII"),
        ("http://exämple.com/", "visible ASCII"),
        ("http://example.com/\ud800", "visible ASCII"),
        ("http://127。0。0。1/", "visible ASCII"),
        ("http://example.com:0/", "Port 0"),
        ("http://example.com:22/", "Port 22"),
        ("http://example.com:25/", "Port 25"),
        ("http://example.com:6379/", "Port 6379"),
        ("http://example.com:2375/", "Port 2375"),
        ("http://example.com:99999/", "not a URL"),
        ("http://example.com:x/", "not a URL"),
        ("http://[::1/", "not a URL"),
        ("http://[fe80::1%25eth0]/", "no valid host|not a URL"),
        ("http://exa%6dple.com/", "no valid host"),
        ("http://exa mple.com/", "visible ASCII"),
        ("http://..example.com/", "no valid host"),
        ("http://" + "a" * 254 + "/", "no valid host"),
        ("http://example.com/" + "a" * 2000, "longer than"),
    ],
)
def test_other_urls_are_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        Target.parse(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]"])
def test_an_inner_address_is_refused_when_it_is_handed_in(host: str) -> None:
    with pytest.raises(Refused, match="SANDBOX_CALLBACK_NETWORKS"):
        check_url(f"http://{host}/")


def test_a_name_is_not_looked_up_when_it_is_handed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("looked up"))
    assert check_url("https://example.com/hook") == "https://example.com/hook"


# --- Resolution ---


def names(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    def getaddrinfo(host: str, port: int, **kwargs: Any) -> list[Any]:
        return [(None, None, 0, "", (address, port)) for address in found]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", getaddrinfo)


def test_a_name_stands_for_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "1.1.1.1", "2606:4700:4700::1111", "1.1.1.1")
    assert [str(a) for a in resolve(Target.parse("http://example.com"))] == ["1.1.1.1", "2606:4700:4700::1111"]


@pytest.mark.parametrize("inner", ["10.0.0.1", "::1", "fe80::1%eth0", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("first", [True, False])
def test_one_inner_address_makes_all_suspect(monkeypatch: pytest.MonkeyPatch, inner: str, first: bool) -> None:
    names(monkeypatch, *((inner, "1.1.1.1") if first else ("1.1.1.1", inner)))
    with pytest.raises(Refused, match="not a public address"):
        resolve(Target.parse("http://example.com"))


def test_a_name_without_addresses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch)
    with pytest.raises(Refused):
        resolve(Target.parse("http://example.com"))


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0"])
def test_loopback_under_other_names_is_refused(host: str) -> None:
    with pytest.raises(Refused):
        resolve(Target.parse(f"http://{host}/"))


def test_a_label_too_long_for_dns_is_refused() -> None:
    with pytest.raises(Refused):
        resolve(Target.parse(f"http://{'a' * 64}.example/"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/hook", "https://a.example/hook"),
        ("https://a.example/hook?key=s3cret&x=1", "https://a.example/hook?key=…&x=…"),
        ("https://a.example/?s3cret", "https://a.example/?…"),
        ("https://a.example/?a=s3cret=x&&b=", "https://a.example/?a=…&&b=…"),
    ],
)
def test_shown_url_has_names_without_values(url: str, shown: str) -> None:
    assert addresses.without_values(url) == shown
