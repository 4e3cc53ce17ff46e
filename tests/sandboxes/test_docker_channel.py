import socket
from collections.abc import Iterator

import pytest

from sandboxes.docker_engine import DockerChannel
from sandboxes.engine import EngineError


def chunk(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, DockerChannel]]:
    docker, ours = socket.socketpair()
    channel = DockerChannel(ours)
    yield docker, channel
    docker.close()
    channel.close()


Sockets = tuple[socket.socket, DockerChannel]
STREAM = chunk(1, b"one") + chunk(2, b"error") + chunk(1, b"") + chunk(1, b"two") + chunk(2, b"!")


def test_chunks_of_one_read_are_sorted_by_stream(sockets: Sockets) -> None:
    docker, channel = sockets
    docker.sendall(STREAM)
    assert channel.receive() == (b"onetwo", b"error!")


@pytest.mark.parametrize("at", range(1, len(STREAM)))
def test_chunks_may_be_split_anywhere(sockets: Sockets, at: int) -> None:
    docker, channel = sockets
    received = []
    for part in (STREAM[:at], STREAM[at:]):
        docker.sendall(part)
        received.append(channel.receive() or (b"", b""))
    assert [b"".join(parts) for parts in zip(*received, strict=True)] == [b"onetwo", b"error!"]


def test_half_a_chunk_is_no_end(sockets: Sockets) -> None:
    docker, channel = sockets
    docker.sendall(STREAM[:5])
    assert channel.receive() == (b"", b"")


def test_end_of_the_stream_is_none(sockets: Sockets) -> None:
    docker, channel = sockets
    docker.close()
    assert channel.receive() is None


def test_chunk_of_an_unknown_stream_is_an_error_of_the_engine(sockets: Sockets) -> None:
    # 3 is what Docker itself has to say.
    docker, channel = sockets
    docker.sendall(chunk(3, b"something went wrong"))
    with pytest.raises(EngineError):
        channel.receive()


def test_what_is_sent_arrives_as_it_is(sockets: Sockets) -> None:
    docker, channel = sockets
    channel.send(b"job")
    assert docker.recv(100) == b"job"


def test_sending_to_a_sandbox_that_is_gone_is_an_error_of_the_engine(sockets: Sockets) -> None:
    docker, channel = sockets
    docker.close()
    with pytest.raises(EngineError):
        channel.send(b"job")


def test_reset_of_the_connection_is_an_error_of_the_engine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = DockerChannel(socket.create_connection(server.getsockname()))
        docker, _ = server.accept()
        docker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        docker.close()
        with pytest.raises(EngineError):
            channel.receive()
        channel.close()
