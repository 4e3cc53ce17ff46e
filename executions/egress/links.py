"""The link between a door and a gateway on another machine: keys, TLS, and a guest's bytes in it.

Each connection of a guest has a link of its own: a TCP connection with TLS 1.3. So a guest that does not read holds up
no other one.

One secret, which only the gateways have, is the source of all keys:

- the gateway's own, whose certificate the node's key holds. The node trusts no other certificate;
- a key for each node, by the node's name. The node sends it in the link's first line, which names the door, too. Who
  has a node's key can speak for that node, and can derive no other key.

After that line and its answer a link carries frames, because TLS has no end of one direction only: four bytes with the
length, then the data. A frame without data ends its direction. A link that ends without one was lost.
"""

import asyncio
import base64
import hmac
import json
import socket
import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from executions.egress.carrying import CHUNK

SHORTEST_SECRET = 32
LONGEST_NODE = 100  # characters of a node's name, as in sandboxes.models.Node
LENGTH = 4
INTRODUCTION_S = 10
# How long a link whose work is done may go on sending what was written.
CLOSING_S = 5
# The gateway's name in its certificate. It says nothing about where the gateway is.
NAME = "gateway.egress.invalid"
# Neither of the two is ever compared with a clock's time.
ALWAYS = datetime(2000, 1, 1), datetime(9999, 1, 1)
# A machine that is gone closes nothing: without these an idle link would stay for hours. No TCP_USER_TIMEOUT beside
# them: it would also end the link of a program that does not read for a while.
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


@dataclass(frozen=True)
class NodeKey:
    """What a node has: its key, and the gateway's certificate in DER."""

    key: str
    certificate: bytes

    def __str__(self) -> str:
        return f"{self.key}:{base64.b64encode(self.certificate).decode()}"

    @classmethod
    def parse(cls, text: str) -> "NodeKey":
        """Raises ValueError."""
        key, _, certificate = text.partition(":")
        if not key or not certificate:
            raise ValueError("no key of a node: make one with `manage.py egress_node_key`")
        return cls(key, base64.b64decode(certificate, validate=True))


def node_key(secret: str, node: str) -> NodeKey:
    """Return the key of the node of this name. Raises ValueError."""
    if not 0 < len(node) <= LONGEST_NODE:
        raise ValueError(f"a node's name has 1 to {LONGEST_NODE} characters")
    certificate = _certificate(_private_key(secret)).public_bytes(serialization.Encoding.DER)
    return NodeKey(_derived(secret, f"node {node}").hex(), certificate)


def is_node(secret: str, node: str, key: str) -> bool:
    """Return whether the key is that of the node."""
    return hmac.compare_digest(key.encode(errors="surrogatepass"), _derived(secret, f"node {node}").hex().encode())


def _derived(secret: str, purpose: str) -> bytes:
    if len(secret) < SHORTEST_SECRET:
        raise ValueError(
            f"SANDBOX_EGRESS_NODES_SECRET has fewer than {SHORTEST_SECRET} characters: make a random one"
        )
    return hmac.digest(
        secret.encode(), f"sandbox-platform egress {purpose}".encode(errors="surrogatepass"), "sha256"
    )


def _private_key(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_derived(secret, "gateway"))


def _certificate(key: Ed25519PrivateKey) -> x509.Certificate:
    """Return the certificate, the same for the same key: every gateway with the secret has it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    since, until = ALWAYS
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, since, until)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(key, None)


def gateway_context(secret: str) -> ssl.SSLContext:
    """Return the TLS settings of a gateway. Raises ValueError."""
    key = _private_key(secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    # OpenSSL reads them from a file only. It is its owner's, and gone before this returns.
    with tempfile.NamedTemporaryFile() as file:
        pem, encoding = serialization.NoEncryption(), serialization.Encoding.PEM
        file.write(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, pem))
        file.write(_certificate(key).public_bytes(encoding))
        file.flush()
        context.load_cert_chain(file.name)
    return context


def node_context(key: NodeKey) -> ssl.SSLContext:
    """Return the TLS settings of a node: it trusts the gateway's certificate and no other. Raises ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=key.certificate)
    except ssl.SSLError as e:
        raise ValueError("the gateway's certificate in it cannot be read") from e
    return context


def address_of(text: str) -> tuple[str, int]:
    """Return host and port. Raises ValueError."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def listen(address: str) -> socket.socket:
    """Return a socket that listens there, without a host on all addresses. Raises OSError and ValueError."""
    host, port = address_of(address)
    if not host and socket.has_dualstack_ipv6():
        listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
    listener.setblocking(False)
    return listener


class FrameReader:
    """A guest's bytes that come over a link."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._left = 0
        self._ended = False
        self.number = 0  # of bytes that came
        self.is_lost = False

    async def read(self, n: int) -> bytes:
        """Return up to n bytes, b"" at the end. Raises ConnectionError if the link was lost before."""
        try:
            data = await self._next(n)
        except (OSError, asyncio.IncompleteReadError) as e:  # TLS's own errors, too
            self.is_lost = True
            raise ConnectionError("the link was lost") from e
        self._left -= len(data)
        self.number += len(data)
        return data

    async def _next(self, n: int) -> bytes:
        if not self._left and not self._ended:
            self._left = int.from_bytes(await self._reader.readexactly(LENGTH))
            self._ended = not self._left
        if self._ended:
            return b""
        if self._left > CHUNK:
            raise ConnectionError("a frame is too large")
        if data := await self._reader.read(min(n, self._left)):
            return data
        raise ConnectionError("the end came in a frame")


class FrameWriter:
    """A guest's bytes that go over a link."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._ended = False

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), CHUNK):
            part = data[start : start + CHUNK]
            self._writer.write(len(part).to_bytes(LENGTH) + part)

    async def drain(self) -> None:
        """Raises ConnectionError."""
        try:
            await self._writer.drain()
        except OSError as e:
            raise ConnectionError("the link was lost") from e

    def write_eof(self) -> None:
        if not self._ended:
            self._ended = True
            self._writer.write(bytes(LENGTH))


@dataclass
class Link:
    """One end of a TLS connection with lines first and frames after them."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __post_init__(self) -> None:
        self.incoming, self.outgoing = FrameReader(self.reader), FrameWriter(self.writer)
        keep_alive(self.writer.get_extra_info("socket"))
        # As without TLS. Its own limits are several times as high, and a thousand links may be full.
        self.writer.transport.set_write_buffer_limits(CHUNK)
        self.writer.transport.set_read_buffer_limits(CHUNK)  # type: ignore[attr-defined]

    async def line(self) -> dict[str, Any]:
        """Return the line that comes next. Raises OSError and ValueError."""
        try:
            value = json.loads(await self.reader.readline())
        except RecursionError as e:
            raise ValueError("too many brackets") from e
        if not isinstance(value, dict):
            raise ValueError("no object")
        return value

    def say(self, value: dict[str, Any]) -> None:
        self.writer.write(json.dumps(value).encode() + b"\n")

    def close(self) -> None:
        self.writer.close()


def keep_alive(sock: socket.socket) -> None:
    """Let the kernel end the connection once the other machine is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def connect(address: tuple[str, int], context: ssl.SSLContext) -> Link:
    """Open a link. Raises OSError, which includes what TLS has against the gateway."""
    reader, writer = await asyncio.open_connection(
        *address,
        ssl=context,
        server_hostname=NAME,
        ssl_handshake_timeout=INTRODUCTION_S,
        ssl_shutdown_timeout=CLOSING_S,
        limit=CHUNK,
    )
    return Link(reader, writer)


async def accept(sock: socket.socket, context: ssl.SSLContext) -> Link:
    """Open the link of an accepted connection. Raises OSError."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol,
        sock,
        ssl=context,
        ssl_handshake_timeout=INTRODUCTION_S,
        ssl_shutdown_timeout=CLOSING_S,
    )
    return Link(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
