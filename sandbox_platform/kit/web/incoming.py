"""The bytes of one request while they arrive: how much may come, until when, and whether all of it is there.

gunicorn parses the request afterwards, and decides what it means. This module only has to know where it ends. It
passes on whatever it does not understand, for gunicorn to refuse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from sandbox_platform.kit import formats

LARGEST_HEAD = 64 * 1024
# A line with a chunk's size, or one of the lines behind the last chunk.
LONGEST_LINE = 8190
# What the lines between chunks may take besides the body.
CHUNKING = 64 * 1024
CREDENTIALS = {b"authorization", b"cookie", *(header.lower().encode() for header in formats.TOKEN_HEADERS)}


@dataclass(frozen=True)
class Bounds:
    head_s: float  # from the first byte of a head to its last
    body_s: float  # for a body, besides the time that its bytes need at the lowest rate
    lowest_rate: int  # bytes a second
    # Bytes of a body, by the path that it is sent to or to one below; the first that fits. b"" is above all.
    largest: Sequence[tuple[bytes, int]]

    def largest_body(self, path: bytes) -> int:
        below = path.rstrip(b"/") + b"/"
        return next(largest for at, largest in self.largest if not at or below.startswith(at.rstrip(b"/") + b"/"))


class Refused(Exception):
    """The request is refused before it is complete."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Ending(Enum):
    """How the end of a body is found."""

    AT_ONCE = auto()
    LENGTH = auto()
    CHUNK = auto()
    TRAILER = auto()


class Incoming:
    def __init__(self, bounds: Bounds, now: float) -> None:
        self.data = bytearray()
        self.path = b""
        # Tells the callers at one address apart. Nothing else is decided by it: it is not checked.
        self.credentials: list[bytes] = []
        self.expects_continue = False
        self.deadline = now + bounds.head_s
        self._bounds = bounds
        self._ending: Ending | None = None  # None: the head is not complete
        self._scanned = 0
        self._body_at = 0
        self.body_began = now
        self._end = 0
        self._largest = 0

    @property
    def has_begun(self) -> bool:
        return bool(self.data)

    @property
    def has_head(self) -> bool:
        return self._ending is not None

    @property
    def is_chunked(self) -> bool:
        return self._ending in (Ending.CHUNK, Ending.TRAILER)

    def feed(self, data: bytes, now: float) -> bool:
        """Add the data, and return whether the request is complete. Raises Refused."""
        self.data += data
        if self._ending is None and not self._find_head(now):
            return False
        # Whoever sends faster than the lowest rate never reaches it.
        received = len(self.data) - self._body_at
        self.deadline = self.body_began + self._bounds.body_s + received / self._bounds.lowest_rate
        match self._ending:
            case Ending.LENGTH:
                return len(self.data) >= self._end
            case Ending.CHUNK | Ending.TRAILER:
                return self._find_end()
        return True

    def _find_head(self, now: float) -> bool:
        at = self.data.find(b"\r\n\r\n", max(self._scanned - 3, 0))
        self._scanned = len(self.data)
        if (at if at >= 0 else self._scanned) > LARGEST_HEAD:
            raise Refused(431, f"The head of the request is larger than {LARGEST_HEAD} bytes.")
        if at < 0:
            return False
        self._body_at = at + 4
        first, *lines = bytes(self.data[:at]).split(b"\r\n")
        words = first.split(b" ")
        self.path = words[1].partition(b"?")[0] if len(words) == 3 else b""
        self._largest = self._bounds.largest_body(self.path)
        self._ending = Ending.AT_ONCE
        for line in lines:
            name, _, value = line.partition(b":")
            self._read(name.strip().lower(), value.strip().lower())
        self.body_began = now
        return True

    def _read(self, name: bytes, value: bytes) -> None:
        if name == b"transfer-encoding" and value.endswith(b"chunked"):
            self._ending, self._end = Ending.CHUNK, self._body_at
        elif name == b"content-length" and self._ending is not Ending.CHUNK and value.isdigit():
            if len(value) > 15 or int(value) > self._largest:
                self._refuse_large()
            self._ending, self._end = Ending.LENGTH, self._body_at + int(value)
        elif name == b"expect" and value == b"100-continue":
            self.expects_continue = True
        elif name in CREDENTIALS:
            self.credentials.append(value)

    def _refuse_large(self) -> None:
        raise Refused(413, f"The request is larger than {self._largest} bytes.")

    def _find_end(self) -> bool:
        """Walk along the chunks that have arrived, and return whether the last one has."""
        if len(self.data) - self._body_at > self._largest + self._largest // 4 + CHUNKING:
            self._refuse_large()
        while True:
            at = self.data.find(b"\r\n", self._end, self._end + LONGEST_LINE)
            if at < 0:
                return len(self.data) - self._end >= LONGEST_LINE  # gunicorn refuses such a line
            line = bytes(self.data[self._end : at])
            if self._ending is Ending.TRAILER:
                self._end = at + 2
                if not line:
                    return True
                continue
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                size = -1
            if size < 0:
                return True  # gunicorn refuses it
            if at + 2 + size - self._body_at > self._largest + self._largest // 4 + CHUNKING:
                self._refuse_large()
            if size == 0:
                self._ending, self._end = Ending.TRAILER, at + 2
            elif len(self.data) < at + 2 + size + 2:
                return False
            else:
                self._end = at + 2 + size + 2
