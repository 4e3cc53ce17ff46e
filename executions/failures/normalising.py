"""Replaces what differs between two runs with the same failure: numbers, addresses, ids, paths.

RE2 matches in linear time, whatever a program wrote.
"""

from typing import Any

import re2

# Characters of a message that are looked at.
READ = 2000
ESCAPES = re2.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_INVISIBLE = re2.compile(
    r"[\x00-\x08\x0b-\x1f\x7f\x{80}-\x{9f}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}]+"
)
_SPACE = re2.compile(r"\s+")
# In this order: each pattern sees what the earlier ones left.
_REPLACED: tuple[tuple[Any, str], ...] = tuple(
    (re2.compile(pattern), mark)
    for pattern, mark in (
        (r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", "<url>"),
        (r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", "<email>"),
        (r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", "<id>"),
        (r"\b0[xX][0-9a-fA-F]+\b", "<address>"),
        (r"(?:[A-Za-z]:\\|\\\\)[^\s'\"<>:]+", "<path>"),
        (r"(?:\B|\b\.{0,2})(?:/[^\s/'\"<>:,;()\[\]]+)+/?", "<path>"),
        (r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b", "<address>"),
        # Digits among letters: a hash, a key or a name with a number.
        (r"\b[0-9a-fA-F]*[0-9][0-9a-fA-F]{6,}\b|\b[0-9a-fA-F]{6,}[0-9][0-9a-fA-F]*\b", "<id>"),
        (r"[0-9]+(?:[.,:_-][0-9]+)*", "<n>"),
    )
)


def normalised(text: str, most: int) -> str:
    """Return the text in one line of at most `most` characters, without what differs between runs."""
    text = one_line(text[:READ])
    for pattern, mark in _REPLACED:
        text = pattern.sub(mark, text)
    return clipped(text, most)


def one_line(text: str) -> str:
    return str(_SPACE.sub(" ", _INVISIBLE.sub(" ", ESCAPES.sub("", text)))).strip()


def clipped(text: str, most: int) -> str:
    text = one_line(text[: most * 4])
    return text if len(text) <= most else f"{text[: most - 1]}…"
