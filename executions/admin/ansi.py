"""Turns terminal colours into HTML. The text is untrusted: everything but colour codes is escaped."""

import re
from dataclasses import dataclass, replace
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

SGR = re.compile(r"\x1b\[([0-9;]{0,40})m")
# Other escape sequences, such as cursor movements and window titles, which have no meaning on a page.
OTHER = re.compile(r"\x1b(?:\[[0-?]{0,40}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[@-Z\\-_])")
# An incomplete escape sequence at the end of a chunk.
BEGUN = re.compile(r"\x1b(?:\[[0-?]{0,40}[ -/]{0,8}|\][^\x07\x1b]{0,200}\x1b?)?\Z")
LONGEST_CODE = 210
NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
# Cap on colour changes: each becomes an element of the page, and a program may change colour at every letter.
MOST_PIECES = 5000


@dataclass(frozen=True)
class Style:
    bold: bool = False
    italic: bool = False
    underline: bool = False
    colour: str = ""
    ground: str = ""

    @property
    def classes(self) -> str:
        flags = (("b", self.bold), ("i", self.italic), ("u", self.underline))
        names = [name for name, on in flags if on]
        names += [f"fg-{self.colour}"] if self.colour else []
        names += [f"bg-{self.ground}"] if self.ground else []
        return " ".join(f"ansi-{name}" for name in names)

    def after(self, codes: list[int]) -> "Style":
        style = self
        rest = iter(codes or [0])
        for code in rest:
            if code in (38, 48):  # skip 256-colour and true-colour codes: only the eight basic colours are shown
                for _ in range({5: 1, 2: 3}.get(next(rest, 0), 0)):
                    next(rest, None)
                continue
            style = style._after(code)
        return style

    def _after(self, code: int) -> "Style":
        changes: dict[int, dict[str, Any]] = {
            1: {"bold": True}, 3: {"italic": True}, 4: {"underline": True},
            22: {"bold": False}, 23: {"italic": False}, 24: {"underline": False},
            39: {"colour": ""}, 49: {"ground": ""},
        }  # fmt: skip
        if code == 0:
            return Style()
        if 30 <= code <= 37 or 90 <= code <= 97:
            return replace(self, colour=NAMES[code % 10])
        if 40 <= code <= 47 or 100 <= code <= 107:
            return replace(self, ground=NAMES[code % 10])
        return replace(self, **changes.get(code, {}))


Piece = tuple[str, str]  # CSS classes, and the unescaped text


class Painter:
    """Splits streamed text into coloured pieces. Keeps the current colour and an incomplete code between chunks."""

    def __init__(self) -> None:
        self._style = Style()
        self._begun = ""
        self._left = MOST_PIECES

    def paint(self, text: str) -> list[Piece]:
        text = self._begun + text
        begun = BEGUN.search(text, max(0, len(text) - LONGEST_CODE))
        self._begun = text[begun.start() :] if begun else ""
        return self._pieces(text[: len(text) - len(self._begun)])

    def finish(self) -> list[Piece]:
        begun, self._begun = self._begun, ""
        return self._pieces(begun)

    def _pieces(self, text: str) -> list[Piece]:
        pieces, at = [], 0
        for match in SGR.finditer(text):
            if self._left <= 0:
                break
            pieces.append((self._style.classes, text[at : match.start()]))
            self._style = self._style.after([int(code) for code in match[1].split(";") if code])
            at = match.end()
            self._left -= 1
        pieces.append((self._style.classes, SGR.sub("", text[at:])))
        cleaned = ((classes, OTHER.sub("", piece)) for classes, piece in pieces)
        return [(classes, piece) for classes, piece in cleaned if piece]


def to_html(text: str) -> SafeString:
    if "\x1b" not in text:
        return format_html("{}", text)
    painter = Painter()
    pieces = painter.paint(text) + painter.finish()
    return format_html_join("", '<span class="{}">{}</span>', pieces)


def plain(text: str) -> str:
    return OTHER.sub("", SGR.sub("", text))
