"""The proxy's own part: whatever the rules allow, no request gets to an address inside. Beside it a gateway that
allows everything, and a name server that lies."""

import contextlib
import http.client
import importlib.util
import ipaddress
import json
import socket
import socketserver
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import docker
import pytest

from sandbox_platform.kit.addresses import is_public
from tests.executions.egress.conftest import ALLOWED, INSIDE, internet, proxy, secret_in
from tests.live import ROOT, eventually, free_port

WHOSE = uuid.uuid4()
# Loopback addresses of this test's own: the name server's, and one where nobody may get to.
NAMES, INNER = "127.9.9.53", "127.9.9.80"


def networks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("networks", ROOT / "images/egress/networks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- What is refused ---


def is_refused(address: str, *opened: str, own: tuple[str, ...] = (), stack: tuple[str, ...] = ()) -> bool:
    listed = networks().refused(*([ipaddress.ip_network(n) for n in some] for some in (opened, own, stack)))
    one = ipaddress.ip_address(address)
    return any(one in network for network in listed if network.version == one.version)


@pytest.mark.parametrize("address", [a for a in INSIDE.values() if "ffff" not in a] + [
    "192.168.1.1", "172.16.0.1", "172.31.255.255", "100.100.100.200", "198.18.0.1", "255.255.255.255",
    "fe80::1", "fd00:ec2::254", "2002:a01:203::1", "2001::1", "ff02::1", "64:ff9b:1::1",
])  # fmt: skip
def test_address_inside_is_refused(address: str) -> None:
    assert is_refused(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_address_of_the_internet_is_not(address: str) -> None:
    assert not is_refused(address)


def test_callbacks_and_egress_agree_on_what_is_public() -> None:
    """Of every edge of every network on the list; what is IPv4 in disguise, squid takes for IPv4."""
    edges = {edge + step for n in networks().refused() for edge in (n[0], n[-1]) for step in (-1, 0, 1)
             if 0 < int(edge) < 2**n.max_prefixlen - 1}  # fmt: skip
    edges = {edge for edge in edges if not (edge.version == 6 and edge.ipv4_mapped)}
    differing = [str(edge) for edge in edges if is_public(edge) == is_refused(str(edge))]
    assert differing == []


def test_operator_opens_one_address_and_no_other() -> None:
    assert not is_refused("10.1.2.3", "10.1.2.3/32")
    assert is_refused("10.1.2.4", "10.1.2.3/32")


def test_a_network_wider_than_the_private_one_opens_all_of_it() -> None:
    assert not is_refused("10.200.0.1", "0.0.0.0/0")


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "100.100.100.200", "::1", "fe80::1"])
def test_nobody_opens_loopback_and_metadata(address: str) -> None:
    assert is_refused(address, "0.0.0.0/0", "::/0")


def test_networks_of_the_proxy_itself_are_refused() -> None:
    assert is_refused("203.0.112.7", own=("203.0.112.0/24",))


def test_nobody_opens_the_network_where_the_gateway_is() -> None:
    assert is_refused("172.30.0.2", "172.16.0.0/12", stack=("172.30.0.0/16",))


def test_no_network_holds_all_of_ipv4_in_disguise() -> None:
    mapped = ipaddress.ip_network("::ffff:0:0/96")
    assert not [n for n in networks().refused() if n.version == 6 and n.overlaps(mapped)]


# --- squid ---


@dataclass
class Gateway:
    """Allows everything but what it is told not to, and keeps what it is told."""

    asked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    refuses: bool = False

    def serve(self, connection: Any) -> None:
        with connection, connection.makefile("rwb") as lines:
            kind, _, secret = lines.readline().strip().partition(b" ")
            self.secrets.add(secret.decode())
            for line in lines:
                text = line.decode().strip()
                if kind == b"log":
                    self.told.append(text)
                    continue
                self.asked.append(text)
                lines.write(
                    f"{text.split()[0]} {'ERR' if self.refuses else 'OK'} tag={len(self.asked)}\n".encode()
                )
                lines.flush()


class Names(socketserver.BaseRequestHandler):
    """Answers an A query for `turning.test` with the good address first and the inner one from then on, for
    `mixed.test` with both, for all with a time to live of zero."""

    good = ""
    turns = 0

    def handle(self) -> None:
        query, sock = self.request
        end = query.index(b"\0", 12)
        name, kind = query[12:end], query[end + 1 : end + 3]
        addresses: list[str] = []
        if kind == b"\0\1" and name == b"\x07turning\x04test":
            addresses = [Names.good if Names.turns % 2 == 0 else INNER]
            Names.turns += 1
        elif kind == b"\0\1" and name == b"\x05mixed\x04test":
            addresses = [Names.good, INNER]
        head = query[:2] + b"\x81\x80" + query[4:6] + len(addresses).to_bytes(2, "big") + bytes(4)
        records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address) for address in addresses)
        sock.sendto(head + query[12 : end + 5] + records, self.client_address)


@dataclass
class Squid:
    address: tuple[str, int]
    gateway: Gateway
    intruders: list[Any]
    container: Any

    def connection(self, whose: uuid.UUID = WHOSE) -> socket.socket:
        header = f"PROXY TCP6 {ipaddress.IPv6Address(whose.int)} ::1 1 3128"
        sock = socket.create_connection(self.address, timeout=20)
        sock.sendall(f"{header}\r\n".encode())
        return sock

    def send(self, request: str, whose: uuid.UUID = WHOSE) -> tuple[int, str, bytes]:
        """Status, which refusal it was, and the body."""
        with self.connection(whose) as sock:
            sock.sendall(request.encode())
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            error = (answer.headers.get("X-Squid-Error") or "").split()
            return answer.status, error[0] if error else "", answer.read()

    def get(self, url: str, more: str = "") -> tuple[int, str, bytes]:
        host = url.split("/")[2]
        return self.send(f"GET {url} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n")


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return secret_in(tmp_path_factory.mktemp("proxy"))


@pytest.fixture(scope="module")
def squid(secret: Path) -> Iterator[Squid]:
    gateway, intruders = Gateway(), list[Any]()
    label = {"sandbox-platform-test": "egress-proxy"}
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        inner = stack.enter_context(socket.create_server((INNER, 80)))
        Names.turns = 0
        names = stack.enter_context(socketserver.ThreadingUDPServer((NAMES, 53), Names))
        client = stack.enter_context(contextlib.closing(docker.DockerClient.from_env()))
        Names.good = stack.enter_context(internet(client, label))

        def accept(listening: socket.socket, then: Any) -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = listening.accept()[0]
                    threading.Thread(target=then, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, args=(listener, gateway.serve), daemon=True).start()
        threading.Thread(target=accept, args=(inner, intruders.append), daemon=True).start()
        threading.Thread(target=names.serve_forever, daemon=True).start()
        stack.callback(names.shutdown)
        address = ("127.0.0.1", free_port())
        environment = {
            "SANDBOX_EGRESS_GATEWAY": f"127.0.0.1:{listener.getsockname()[1]}",
            "SANDBOX_EGRESS_BIND": f"127.0.0.1:{address[1]}",
            "SANDBOX_EGRESS_NETWORKS": f"{Names.good}/32",
            "SANDBOX_EGRESS_DNS": NAMES,
        }
        hosts = {ALLOWED: Names.good} | INSIDE
        container = stack.enter_context(proxy(client, label, hosts, secret, **environment))
        running = Squid(address, gateway, intruders, container)

        def answers() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return running.get(f"http://{ALLOWED}/")[0] == 200
            return False

        eventually(answers, "squid passes a request on")
        yield running


live = pytest.mark.needs_docker


@live
def test_what_the_gateway_allows_passes(squid: Squid) -> None:
    assert squid.get(f"http://{ALLOWED}/")[0] == 200
    assert squid.gateway.asked[-1].split()[1:5] == [str(ipaddress.IPv6Address(WHOSE.int)), "GET", ALLOWED, "80"]


@live
def test_what_the_gateway_refuses_does_not(squid: Squid) -> None:
    squid.gateway.refuses = True
    try:
        assert squid.get(f"http://{ALLOWED}/")[:2] == (403, "ERR_EGRESS_RULE")
    finally:
        squid.gateway.refuses = False


@live
@pytest.mark.parametrize("host", [
    *INSIDE, "10.1.2.3", "127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.1.2.3]", "[::ffff:169.254.169.254]",
    "[fd00::1]", "0.0.0.0", "localhost",
])  # fmt: skip
@pytest.mark.parametrize("how", ["GET http://{}/", "CONNECT {}:443", "CONNECT {}:80"])
def test_no_address_inside_is_reached(squid: Squid, host: str, how: str) -> None:
    target = how.format(host)
    status, error, _ = squid.send(f"{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    assert (status, error) in {(403, "ERR_EGRESS_ADDRESS"), (403, "ERR_EGRESS_METHOD")}


@live
@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:7f00:1]", "[::127.0.0.1]"]
)
def test_no_other_spelling_of_an_address_is_reached(squid: Squid, host: str) -> None:
    assert squid.get(f"http://{host}/")[0] in (400, 403)


@live
def test_a_name_that_turns_inside_leads_nowhere(squid: Squid) -> None:
    """DNS rebinding: what is connected to is what was checked."""
    for _ in range(30):
        status, _, _ = squid.get("http://turning.test/")
        assert status in (200, 403)
    assert squid.intruders == []


@live
def test_one_address_inside_makes_the_others_suspect(squid: Squid) -> None:
    assert squid.get("http://mixed.test/")[:2] == (403, "ERR_EGRESS_ADDRESS")
    assert squid.intruders == []


@live
def test_a_host_without_an_address_is_refused(squid: Squid) -> None:
    assert squid.get("http://nowhere.test/")[:2] == (403, "ERR_EGRESS_HOST")


@live
@pytest.mark.parametrize("port", [22, 25, 8080, 5432, 9385])
@pytest.mark.parametrize("how", ["GET http://{}/", "CONNECT {}"])
def test_other_ports_are_refused(squid: Squid, port: int, how: str) -> None:
    target = how.format(f"{ALLOWED}:{port}")
    assert squid.send(f"{target} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n")[:2] == (403, "ERR_EGRESS_PORT")


@live
@pytest.mark.parametrize("request_line", [
    f"TRACE http://{ALLOWED}/", f"PURGE http://{ALLOWED}/", f"PROPFIND http://{ALLOWED}/", f"GET ftp://{ALLOWED}:80/",
    f"GET https://{ALLOWED}/", "GET http://egress.invalid/squid-internal-mgr/menu",
    f"GET http://{ALLOWED}/squid-internal-mgr/menu",
])  # fmt: skip
def test_other_kinds_of_request_are_refused(squid: Squid, request_line: str) -> None:
    status, _, _ = squid.send(f"{request_line} HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n\r\n")
    assert status in (400, 403, 405, 501) or "squid-internal" in request_line


@live
def test_the_proxy_s_own_pages_are_closed(squid: Squid) -> None:
    status, _, body = squid.get("http://egress.invalid/squid-internal-mgr/menu")
    assert status == 403
    assert b"Cache Manager" not in body


@live
@pytest.mark.parametrize("header", [
    "Proxy-Authorization: Basic YWRtaW46YWRtaW4=", "X-Forwarded-For: fd00::7", "Forwarded: for=\"[fd00::7]\"",
])  # fmt: skip
def test_no_header_says_whose_it_is(squid: Squid, header: str) -> None:
    squid.get(f"http://{ALLOWED}/", f"{header}\r\n")
    assert squid.gateway.asked[-1].split()[1] == str(ipaddress.IPv6Address(WHOSE.int))


@live
def test_the_internet_is_told_nothing_of_whose_it_is(squid: Squid) -> None:
    with squid.connection() as sock:
        request = f"GET http://{ALLOWED}/ HTTP/1.1\r\nHost: {ALLOWED}\r\nProxy-Authorization: Basic eA==\r\n\r\n"
        sock.sendall(request.encode())
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        headers = {name.lower() for name in json.loads(answer.read())["headers"]}
    assert headers.isdisjoint({"x-forwarded-for", "via", "proxy-authorization", "forwarded"})


@live
def test_no_program_gets_what_another_one_sends(squid: Squid) -> None:
    """The server takes the body of the first program's GET for a request, whose body would be the other's GET."""
    smuggled = f"POST /keep HTTP/1.1\r\nHost: {ALLOWED}\r\nContent-Length: 120\r\n\r\n"
    head = f"GET http://{ALLOWED}/deaf HTTP/1.1\r\nHost: {ALLOWED}\r\nContent-Length: {len(smuggled)}\r\n\r\n"
    assert squid.send(head + smuggled)[0] == 200
    secret = f"GET http://{ALLOWED}/mine HTTP/1.1\r\nAuthorization: Bearer of-another\r\nHost: {ALLOWED}\r\n\r\n"
    assert squid.send(secret, uuid.uuid4())[0] == 200
    kept = json.loads(squid.get(f"http://{ALLOWED}/kept")[2])["kept"]
    assert "of-another" not in "".join(kept)


@live
def test_who_does_not_say_whose_it_is_gets_nothing(squid: Squid) -> None:
    with socket.create_connection(squid.address, timeout=10) as sock:
        sock.sendall(f"GET http://{ALLOWED}/ HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n".encode())
        assert b"200" not in sock.recv(1000)


@live
def test_only_the_gateway_is_listened_to(squid: Squid) -> None:
    with socket.socket() as sock:
        sock.bind((INNER, 0))
        sock.settimeout(10)
        sock.connect(squid.address)
        asked = len(squid.gateway.asked)
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"PROXY TCP6 ::2 ::1 1 3128\r\n")
            sock.sendall(f"GET http://{ALLOWED}/ HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n".encode())
            assert sock.recv(1000) == b""
        assert len(squid.gateway.asked) == asked


@live
def test_the_end_of_a_request_is_told_with_its_number(squid: Squid) -> None:
    squid.get(f"http://{ALLOWED}/some/path?secret=1")
    number = str(len(squid.gateway.asked))
    told = eventually(lambda: [t for t in squid.gateway.told if t.split()[0] == number], "it is told")
    assert "secret" not in told[0]
    assert told[0].split()[2:7] == ["GET", ALLOWED, "80", "TCP_MISS", "200"]


@live
def test_the_proxy_says_the_secret_and_says_it_on_every_connection(squid: Squid, secret: Path) -> None:
    assert squid.gateway.secrets == {secret.read_text().strip()}


@live
def test_squid_runs_without_privileges(squid: Squid) -> None:
    found = subprocess.run(
        ["docker", "exec", squid.container.id, "cat", "/proc/1/status"], capture_output=True, text=True, check=True
    ).stdout
    facts = {k: v.split() for k, _, v in (line.partition(":") for line in found.splitlines())}
    assert (facts["Uid"][0] != "0", facts["CapEff"], facts["NoNewPrivs"]) == (True, ["0" * 16], ["1"])
