"""Renders a JSON value as a tree of foldable elements."""

import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sandbox_platform.kit import html

# Longer strings are cut; a page of thousands of lines would be the result of a few of them.
LONGEST_STRING = 2_000
# A value with more elements than a browser lays out quickly, or nested deeper, is shown as text.
MOST_NODES = 2000
DEEPEST = 60
OPEN_TO = 2
OPEN = SafeString(" open")


class TooLarge(Exception):
    pass


def tree(text: str, download: str = "") -> SafeString:
    """Return the JSON text as a tree, or its first part as text. `download`: the URL of all of it."""
    drawn = _Tree()
    try:
        shown = drawn.node(None, json.loads(text), 0)
    except (ValueError, RecursionError, TooLarge):
        return html.text(text, download)
    offer = format_html(' <a href="{}">Download the whole value</a>', download) if download else ""
    note = format_html('<p class="note">Long strings are cut.{}</p>', offer) if drawn.cut else ""
    return format_html('<div class="json-tree" tabindex="0">{}</div>{}', shown, note)


class _Tree:
    def __init__(self) -> None:
        self._nodes = 0
        self._characters = 0
        self.cut = False

    def node(self, name: str | int | None, value: Any, depth: int) -> SafeString:
        self._nodes += 1
        if self._nodes > MOST_NODES or depth > DEEPEST:
            raise TooLarge
        label = (
            ""
            if name is None
            else format_html('<span class="json-name">{}</span>: ', _readable(self._short(str(name))))
        )
        match value:
            case dict():
                return self._branch(label, list(value.items()), "{…}", "key", depth)
            case list():
                return self._branch(label, list(enumerate(value)), "[…]", "item", depth)
        note: SafeString | str = ""
        if isinstance(value, str) and len(value) > LONGEST_STRING:
            note = format_html(' <span class="note">… {} characters</span>', f"{len(value):,}")
        if isinstance(value, str):
            value = self._short(value)
        kind = {str: "string", bool: "word", type(None): "word"}.get(type(value), "number")
        return format_html(
            '<div class="json-leaf">{}<span class="json-{}">{}</span>{}</div>', label, kind, _leaf(value), note
        )

    def _short(self, text: str) -> str:
        """Return what is shown of the text. Raises TooLarge when all together is more than a page shows."""
        self.cut = self.cut or len(text) > LONGEST_STRING
        self._characters += min(len(text), LONGEST_STRING)
        if self._characters > html.SHOWN:
            raise TooLarge
        return text[:LONGEST_STRING]

    def _branch(
        self, label: SafeString | str, items: list[tuple[Any, Any]], sign: str, unit: str, depth: int
    ) -> SafeString:
        inside = format_html_join("", "{}", ((self.node(name, value, depth + 1),) for name, value in items))
        return format_html(
            '<details class="json"{}><summary>{}{} <span class="note">{} {}{}</span></summary>{}</details>',
            OPEN if depth < OPEN_TO else "", label, sign, len(items), unit, "" if len(items) == 1 else "s", inside,
        )  # fmt: skip


def _leaf(value: Any) -> str:
    return _readable(json.dumps(value, ensure_ascii=False))


def _readable(text: str) -> str:
    # A page in UTF-8 cannot contain a lone surrogate.
    return text.encode("utf-8", "replace").decode()
