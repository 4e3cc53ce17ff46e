"""Renders a JSON value as a tree of foldable elements."""

import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sandbox_platform.kit import html

# A value with more elements than a browser lays out quickly, or nested deeper, is shown as text.
MOST_NODES = 2000
DEEPEST = 60
OPEN_TO = 2
OPEN = SafeString(" open")


class TooLarge(Exception):
    pass


def tree(text: str) -> SafeString:
    try:
        return _Tree().node(None, json.loads(text), 0)
    except (ValueError, RecursionError, TooLarge):
        return html.text(text)


class _Tree:
    def __init__(self) -> None:
        self._nodes = 0

    def node(self, name: str | int | None, value: Any, depth: int) -> SafeString:
        self._nodes += 1
        if self._nodes > MOST_NODES or depth > DEEPEST:
            raise TooLarge
        label = "" if name is None else format_html('<span class="json-name">{}</span>: ', name)
        match value:
            case dict():
                return self._branch(label, list(value.items()), "{…}", "key", depth)
            case list():
                return self._branch(label, list(enumerate(value)), "[…]", "item", depth)
        kind = {str: "string", bool: "word", type(None): "word"}.get(type(value), "number")
        return format_html(
            '<div class="json-leaf">{}<span class="json-{}">{}</span></div>', label, kind, _leaf(value)
        )

    def _branch(
        self, label: SafeString | str, items: list[tuple[Any, Any]], sign: str, unit: str, depth: int
    ) -> SafeString:
        inside = format_html_join("", "{}", ((self.node(name, value, depth + 1),) for name, value in items))
        return format_html(
            '<details class="json"{}><summary>{}{} <span class="note">{} {}{}</span></summary>{}</details>',
            OPEN if depth < OPEN_TO else "", label, sign, len(items), unit, "" if len(items) == 1 else "s", inside,
        )  # fmt: skip


def _leaf(value: Any) -> str:
    # A page in UTF-8 cannot contain a lone surrogate.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
