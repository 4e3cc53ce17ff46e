"""Where a request ends, however its bytes are divided."""

import pytest

from sandbox_platform.kit.web.incoming import CHUNKING, LARGEST_HEAD, Bounds, Incoming, Refused
from sandbox_platform.request_settings import DATA_UPLOAD_MAX_MEMORY_SIZE, SANDBOX_WEB_BOUNDS

BOUNDS = Bounds(head_s=10, body_s=30, lowest_rate=100, largest=((b"/run", 1000), (b"", 10)))
CHUNKED = b"POST /run HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST /run HTTP/1.1\r\ncontent-length : 5\r\n\r\n12345",
    b"POST /run HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    CHUNKED + b"5\r\n12345\r\n3;a=b\r\n\r\n\r\r\n0\r\n\r\n",
    CHUNKED + b"0\r\nTrailer: x\r\n\r\n",
]
# gunicorn refuses them.
ILL_FORMED = [
    b"nonsense\r\n\r\n",
    b"POST /run HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    CHUNKED + b"x\r\n",
    CHUNKED + b"-5\r\n",
    CHUNKED + b"5" * 9000,
]


@pytest.fixture
def incoming() -> Incoming:
    return Incoming(BOUNDS, 0)


@pytest.mark.parametrize("raw", WHOLE)
def test_a_request_is_complete_with_its_last_byte(incoming: Incoming, raw: bytes) -> None:
    assert [incoming.feed(raw[at : at + 1], 0) for at in range(len(raw))] == [False] * (len(raw) - 1) + [True]


@pytest.mark.parametrize("raw", WHOLE + ILL_FORMED)
def test_a_request_may_come_at_once(incoming: Incoming, raw: bytes) -> None:
    assert incoming.feed(raw, 0)
    assert incoming.data == raw


def test_what_follows_a_request_is_kept(incoming: Incoming) -> None:
    assert incoming.feed(WHOLE[0] + b"GET /2", 0)
    assert incoming.data.endswith(b"GET /2")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /run HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST /run HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (b"POST /admin/login/?/run HTTP/1.1\r\nContent-Length: 11\r\n\r\n", 413),
        (CHUNKED + b"fffff\r\n", 413),
        (CHUNKED + b"1\r\nx\r\n" * CHUNKING, 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * LARGEST_HEAD, 431),
    ],
)
def test_a_large_request_is_refused_before_it_has_come(incoming: Incoming, raw: bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        incoming.feed(raw, 0)
    assert refused.value.status == status


def test_a_body_has_more_time_the_more_of_it_comes(incoming: Incoming) -> None:
    assert incoming.deadline == 10
    incoming.feed(b"POST /run HTTP/1.1\r\nContent-Length: 900\r\n\r\n", 5)
    assert incoming.deadline == 5 + 30
    incoming.feed(b"x" * 500, 20)
    assert incoming.deadline == 5 + 30 + 5


@pytest.mark.parametrize("header", [b"Authorization", b"Cookie", b"X-API-Key", b"x-auth-token"])
def test_callers_are_told_apart_by_each_header_of_a_token(incoming: Incoming, header: bytes) -> None:
    assert incoming.feed(b"GET / HTTP/1.1\r\n" + header + b": one\r\nX-Other: two\r\n\r\n", 0)
    assert incoming.credentials == [b"one"]


@pytest.mark.parametrize(
    ("path", "largest"),
    [
        (b"/run", 1000),
        (b"/run/", 1000),
        (b"/run/x", 1000),
        (b"/runs", 10),
        (b"/run_code", 10),
        (b"/", 10),
        (b"", 10),
    ],
)
def test_bound_of_a_path_is_for_those_below_it_only(path: bytes, largest: int) -> None:
    assert BOUNDS.largest_body(path) == largest


@pytest.mark.parametrize(
    ("path", "is_large"),
    [
        (b"/run", True),
        (b"/run_code", True),
        (b"/submissions/batch", True),
        (b"/api/v2/piston/execute", True),
        (b"/api/v1/executions", True),
        (b"/healthz", False),
        (b"/abouts", False),
        (b"/apis", False),
    ],
)
def test_large_bodies_are_for_the_doors(path: bytes, is_large: bool) -> None:
    largest = SANDBOX_WEB_BOUNDS.largest_body(path)
    assert (largest == DATA_UPLOAD_MAX_MEMORY_SIZE) is is_large
