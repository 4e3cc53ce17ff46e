import asyncio
import ssl
from typing import Any

import pytest

from executions.egress import links
from executions.egress.carrying import CHUNK
from executions.egress.links import FrameReader, FrameWriter, NodeKey, address_of, is_node, node_key
from tests.executions.egress.linking import NODE, OTHER_NODE, OTHER_SECRET, SECRET


def test_a_key_is_of_one_node_and_one_secret() -> None:
    key = node_key(SECRET, NODE).key
    assert is_node(SECRET, NODE, key)
    assert not is_node(SECRET, OTHER_NODE, key)
    assert not is_node(OTHER_SECRET, NODE, key)


def test_a_key_is_the_same_whenever_it_is_made() -> None:
    """Every gateway with the secret takes it, and a pod that starts again gets it again."""
    assert str(node_key(SECRET, NODE)) == str(node_key(SECRET, NODE))


def test_a_key_is_read_as_it_was_written() -> None:
    key = node_key(SECRET, NODE)
    assert NodeKey.parse(str(key)) == key


def test_a_key_holds_nothing_that_others_are_made_of() -> None:
    text = str(node_key(SECRET, NODE))
    assert SECRET not in text
    assert node_key(SECRET, OTHER_NODE).key not in text
    assert links._private_key(SECRET).private_bytes_raw() not in node_key(SECRET, NODE).certificate


@pytest.mark.parametrize("node", ["", "n" * 101])
def test_a_name_that_is_none_has_no_key(node: str) -> None:
    with pytest.raises(ValueError, match="1 to 100 characters"):
        node_key(SECRET, node)


@pytest.mark.parametrize(("text", "address"), [
    ("egress:3130", ("egress", 3130)), ("[fd00::1]:3130", ("fd00::1", 3130)), (":3130", ("", 3130)),
])  # fmt: skip
def test_address(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


def test_old_versions_of_tls_are_not_spoken() -> None:
    for context in (links.gateway_context(SECRET), links.node_context(node_key(SECRET, NODE))):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3


def test_a_node_checks_the_certificate_and_its_name() -> None:
    context = links.node_context(node_key(SECRET, NODE))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


class Sent(bytearray):
    """Stands for a stream's writer."""

    def write(self, data: bytes) -> None:
        self.extend(data)


def frames(*parts: bytes, end: bool = True) -> bytes:
    sent = Sent()
    writer = FrameWriter(sent)  # type: ignore[arg-type]
    for part in parts:
        writer.write(part)
    if end:
        writer.write_eof()
        writer.write_eof()
    return bytes(sent)


def read(data: bytes, n: int = CHUNK) -> tuple[list[bytes], bool]:
    """The parts that come, and whether the link was lost."""

    async def scenario() -> tuple[list[bytes], bool]:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        reader = FrameReader(stream)
        parts: list[bytes] = []
        try:
            while part := await reader.read(n):
                parts.append(part)
            assert await reader.read(n) == b""
        except ConnectionError:
            pass
        assert reader.number == sum(map(len, parts))
        return parts, reader.is_lost

    return asyncio.run(scenario())


def test_frames_are_read_to_their_end() -> None:
    assert read(frames(b"one", b"two")) == ([b"one", b"two"], False)


def test_a_frame_is_read_in_parts() -> None:
    assert read(frames(b"abcde"), 2) == ([b"ab", b"cd", b"e"], False)


def test_data_beyond_a_frame_s_size_is_several_frames() -> None:
    parts, is_lost = read(frames(b"x" * (2 * CHUNK + 1)))
    assert (b"".join(parts), is_lost) == (b"x" * (2 * CHUNK + 1), False)


@pytest.mark.parametrize("data", [
    b"", frames(b"one", end=False), frames(b"one")[:-1], frames(b"one")[:6], b"\xff\xff\xff\xffx",
    b"GET / HTTP/1.1\r\n\r\n",
])  # fmt: skip
def test_an_end_without_its_frame_is_a_loss(data: bytes) -> None:
    assert read(data)[1]


def listening(address: str) -> Any:
    with links.listen(address) as sock:
        return sock.getsockname()[0]


def test_without_a_host_all_addresses_are_listened_on() -> None:
    assert listening(":0") in ("::", "0.0.0.0")
    assert listening("127.0.0.1:0") == "127.0.0.1"
