"""Cuts a fuzzer's bytes into the values that a target needs; the same bytes always give the same values."""

import json
from typing import Any

DEEPEST = 8
# One byte selects one of these where a mutation would hardly ever find the word.
Words = tuple[str, ...]


class Bites:
    def __init__(self, data: bytes, words: Words = ()) -> None:
        self._data = data
        self._at = 0
        self._words = words

    def byte(self) -> int:
        """Return the next byte, or 0 at the end."""
        taken = self.take(1)
        return taken[0] if taken else 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data))

    def text(self) -> str:
        """Return one of the words, or up to 255 bytes as text, lone surrogates included."""
        which = self.byte()
        if self._words and which < 200:
            return self._words[which % len(self._words)]
        return self.take(self.byte()).decode("utf-8", "surrogateescape" if which % 2 else "replace")

    def value(self, depth: int = 0) -> Any:
        """Return a JSON value; the words are its likely keys and texts."""
        kind = self.byte() % 9
        if kind in (0, 1) and depth < DEEPEST:
            return {self.text(): self.value(depth + 1) for _ in range(self.byte() % 6)}
        if kind == 2 and depth < DEEPEST:
            return [self.value(depth + 1) for _ in range(self.byte() % 6)]
        if kind == 3:
            return int.from_bytes(self.take(9), "big", signed=True)
        if kind == 4:
            return [None, True, False, 0, 1, -1, 2**63, 2**64, 1e308, float("nan")][self.byte() % 10]
        if kind == 5:
            return self.byte()
        return self.text()


def any_json(data: bytes, words: Words) -> Any:
    """Return what `data` is as JSON; what is none is cut into a value."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return Bites(data, words).value()
