"""The platform's side of the runner protocol: frames and their payloads. See docs/runner-protocol.md."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

VERSION = 2
MAX_DROPPED = 100
MAX_FRAME = 128 * 1024 * 1024
FROM_RUNNER = frozenset(b"HCOERAX")
BYE = b"B" + bytes(4)
WATCHED = b"W" + bytes(4)
TIME_IS_OVER = b"T" + bytes(4)


class ProtocolError(Exception):
    """The runner sent something invalid: it is broken, or something else writes to its stream."""


@dataclass(frozen=True)
class Job:
    """One program with its inputs and limits; see "The job"."""

    mode: str
    code: str
    source_file: str
    arguments: str  # JSON text
    stdin: str
    argv: list[str]
    environment: Mapping[str, str]
    output_bytes: int
    output_action: str
    result_bytes: int
    artifact_count: int
    artifact_bytes: int
    artifact_suffixes: list[str] | None
    files: list[dict[str, str]] = field(default_factory=list)  # each with the keys path and base64

    def frame(self) -> bytes:
        payload = json.dumps(asdict(self) | {"arguments": json.loads(self.arguments)}).encode()
        return b"J" + len(payload).to_bytes(4, "big") + payload


@dataclass(frozen=True)
class End:
    """The runner's report of how the worker ended; see "The end"."""

    exit_code: int | None
    signal: int | None
    stdout_bytes: int
    stderr_bytes: int
    result_bytes: int | None
    cold: bool = False  # the job needed an interpreter that was started for it
    dropped: list[list[str]] = field(default_factory=list)  # name and reason of each file that was not returned

    @classmethod
    def parse(cls, payload: bytes) -> "End":
        try:
            fields: dict[str, Any] = json.loads(payload)
            end = cls(**{name: fields[name] for name in cls.__dataclass_fields__})
            sound = end._is_sound()
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            raise ProtocolError(f"bad end frame: {e}") from e
        if not sound:
            raise ProtocolError(f"bad end frame: {end}")
        return end

    def _is_sound(self) -> bool:
        counts = [self.stdout_bytes, self.stderr_bytes]
        counts += [n for n in (self.exit_code, self.signal, self.result_bytes) if n is not None]
        return (
            all(type(n) is int and n >= 0 for n in counts)
            and isinstance(self.cold, bool)
            and len(self.dropped) <= MAX_DROPPED
            and all(type(n) is str and type(why) is str and len(why) <= 100 for n, why in self.dropped)
            and (self.exit_code is None) != (self.signal is None)
        )


class Frames:
    """Cuts a byte stream into frames. A frame larger than `limit` bytes is a protocol error."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._buffer += data
        position = 0
        while len(self._buffer) - position >= 5:
            kind = self._buffer[position]
            size = int.from_bytes(self._buffer[position + 1 : position + 5], "big")
            if kind not in FROM_RUNNER or size > self._limit:
                raise ProtocolError(f"frame of type {kind} and {size} bytes")
            end = position + 5 + size
            if end > len(self._buffer):
                break
            yield bytes([kind]), bytes(self._buffer[position + 5 : end])
            position = end
        del self._buffer[:position]


def parse_artifact(payload: bytes) -> tuple[str, bytes]:
    size = int.from_bytes(payload[:2], "big")
    try:
        name = payload[2 : 2 + size].decode()
    except UnicodeDecodeError as e:
        raise ProtocolError("artifact name is not UTF-8") from e
    cut = len(payload) < 2 + size
    if cut or name in ("", ".", "..") or len(name) > 255 or "/" in name or "\0" in name:
        raise ProtocolError(f"artifact name {name!r}")
    return name, payload[2 + size :]


def parse_compiled(payload: bytes) -> int:
    """Return the exit status of the compile command. Raises ProtocolError."""
    try:
        status = json.loads(payload)["exit_code"]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise ProtocolError(f"bad compilation frame: {e}") from e
    if type(status) is not int or not 0 <= status <= 255:
        raise ProtocolError(f"bad exit status of the compilation: {status!r}")
    return status
