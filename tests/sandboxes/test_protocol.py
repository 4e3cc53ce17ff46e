import json
from collections.abc import Callable

import pytest

from sandboxes.protocol import FROM_RUNNER, End, Frames, ProtocolError, parse_artifact, parse_compiled
from sandboxes.session import speaks_our_version
from tests.sandboxes.guest import job


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


STREAM = frame(b"H", b'{"protocol": 2}') + frame(b"O", b"") + frame(b"O", b"one") + frame(b"X", b"end")
CUT = [(b"H", b'{"protocol": 2}'), (b"O", b""), (b"O", b"one"), (b"X", b"end")]


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_frames_may_be_split_anywhere(at: int) -> None:
    frames = Frames()
    assert [*frames.feed(STREAM[:at]), *frames.feed(STREAM[at:])] == CUT


def test_frames_may_come_byte_by_byte() -> None:
    frames = Frames()
    assert [found for byte in STREAM for found in frames.feed(bytes([byte]))] == CUT


@pytest.mark.parametrize("kind", sorted(set(range(256)) - FROM_RUNNER))
def test_frame_of_an_unknown_type_is_an_error(kind: int) -> None:
    with pytest.raises(ProtocolError):
        list(Frames().feed(bytes([kind, 0, 0, 0, 0])))


def test_frame_as_large_as_the_limit_is_taken() -> None:
    assert list(Frames(limit=3).feed(frame(b"O", b"one"))) == [(b"O", b"one")]


def test_frame_over_the_limit_is_an_error_before_it_has_arrived() -> None:
    with pytest.raises(ProtocolError):
        list(Frames(limit=3).feed(b"O\0\0\0\x04"))


def test_frames_before_a_broken_one_are_delivered() -> None:
    found = []
    with pytest.raises(ProtocolError):
        for it in Frames().feed(frame(b"O", b"one") + b"?\0\0\0\0"):
            found.append(it)
    assert found == [(b"O", b"one")]


END = {
    "exit_code": 0,
    "signal": None,
    "stdout_bytes": 1,
    "stderr_bytes": 2,
    "result_bytes": None,
    "cold": False,
    "dropped": [],
}


def test_end_is_read() -> None:
    assert End.parse(json.dumps(END).encode()) == End(0, None, 1, 2, None, False)


def test_end_may_say_more_than_is_known() -> None:
    assert End.parse(json.dumps(END | {"new": 1}).encode()) == End(0, None, 1, 2, None, False)


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"1", b"null", b'"text"', b"\xff", json.dumps(dict(list(END.items())[:-1])).encode()],
)
def test_end_that_is_none_is_an_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        End.parse(payload)


@pytest.mark.parametrize(
    "change", [{"exit_code": "0"}, {"signal": 1.5}, {"result_bytes": []}, {"stdout_bytes": None}]
)
def test_end_with_a_field_of_another_type_is_an_error(change: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        End.parse(json.dumps(END | change).encode())


@pytest.mark.parametrize("change", [{"exit_code": None}, {"signal": 9}])
def test_end_has_either_an_exit_code_or_a_signal(change: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        End.parse(json.dumps(END | change).encode())


def artifact(name: bytes, content: bytes) -> bytes:
    return len(name).to_bytes(2, "big") + name + content


@pytest.mark.parametrize("content", [b"content", b""])
def test_artifact_is_read(content: bytes) -> None:
    assert parse_artifact(artifact("bär.png".encode(), content)) == ("bär.png", content)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0", b"\0\0content", artifact(b"\xff", b""), artifact(b"a/b", b""), artifact(b"a\0b", b""),
     artifact(b"x" * 256, b""), b"\0\x05ab", artifact(b".", b""), artifact(b"..", b"")],
    ids=["nothing", "half a length", "no name", "not UTF-8", "slash", "NUL", "long", "cut", "dot", "dots"],
)  # fmt: skip
def test_artifact_without_a_plain_name_is_an_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_artifact(payload)


def test_job_is_one_frame_with_its_arguments_as_json_values() -> None:
    sent = job("code", arguments='{"a": [1]}').frame()
    assert (sent[:1], int.from_bytes(sent[1:5], "big")) == (b"J", len(sent) - 5)
    assert json.loads(sent[5:])["arguments"] == {"a": [1]}


@pytest.mark.parametrize("status", [0, 255])
def test_end_of_a_compilation_is_its_exit_status(status: int) -> None:
    assert parse_compiled(json.dumps({"exit_code": status}).encode()) == status


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b"1", b'{"exit_code": true}', b'{"exit_code": 256}', b"\xff"]
)
def test_end_of_a_compilation_without_a_status_is_an_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_compiled(payload)


@pytest.mark.parametrize("parse", [End.parse, parse_compiled])
def test_payload_that_nests_deeper_than_python_can_read_is_an_error(parse: Callable[[bytes], object]) -> None:
    with pytest.raises(ProtocolError):
        parse(b"[" * 50_000)


def test_hello_that_nests_too_deeply_is_none_of_ours() -> None:
    assert not speaks_our_version(b"[" * 50_000)
