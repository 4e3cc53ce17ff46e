"""Bounds the memory that parsing JSON takes, by counting its values before they are made."""

import re

# A value begins after one of these. A string, in which they mean nothing, is matched as a whole.
STRUCTURE = rb"[\[{,]"
STRING_OR_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|' + STRUCTURE, re.DOTALL)


class TooManyValues(ValueError):
    def __init__(self, most: int) -> None:
        super().__init__(f"the JSON has more than {most} values (SANDBOX_MAX_VALUES)")


def refuse_many_values(raw: bytes, most: int) -> None:
    """Raise TooManyValues if the JSON has more than `most` lists, objects and elements of them."""
    if sum(raw.count(mark) for mark in (b"[", b"{", b",")) <= most:
        return
    # Slower, but texts, such as a program, may have any number of commas.
    found = 0
    for match in STRING_OR_STRUCTURE.finditer(raw):
        found += raw[match.start()] != ord('"')
        if found > most:
            raise TooManyValues(most)
