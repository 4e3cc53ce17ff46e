"""Previews of files. A file is untrusted: nothing in it may run or learn about the page around it.

The media type of an image comes from its first bytes. CSV is shown as a table of escaped cells, PDF by the browser's
viewer, HTML and Markdown as the page that they describe. Every response has its own content security policy: a sandbox
without origin, scripts and requests.
"""

import csv
import io
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

PDF, SVG = "application/pdf", "image/svg+xml"
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"%PDF-": PDF,
}
TABLES = (".csv", ".tsv")
PAGES = (".html", ".htm")
MARKDOWN = (".md", ".markdown")
TEXTS = (".txt", ".json", ".jsonl", ".log", ".xml", ".yaml", ".yml", ".svg", ".py", ".js")
MOST_ROWS, MOST_COLUMNS, LONGEST_CELL = 200, 50, 300
LONGEST_TEXT = 100_000
# The renderer takes quadratic time for hostile text: 0.2 s for this much, 6 s for LONGEST_TEXT.
LONGEST_MARKDOWN = 20_000
# HTML in Markdown stays text.
RENDERER = MarkdownIt("commonmark", {"html": False}).enable("table")
# No `allow-scripts` and no `allow-same-origin`. Only pages of this site may frame a preview.
POLICY = "sandbox; default-src 'none'; img-src 'self' data:; style-src 'self'; frame-ancestors 'self'"
# For what has styles of its own. Links lead nowhere in a frame: our pages load no frames of others.
STYLED = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
# For the browser's PDF viewer. Chromium 156 shows no PDF in a frame with the attribute `sandbox`, but shows one under
# this policy, of which it applies all but the sandbox. Other browsers may apply that too, and then show nothing.
# A PDF's scripts run in the viewer's process, without page or network: they can do no more than show a dialog.
PDF_POLICY = "sandbox; default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"


def kind_of(name: str, head: bytes) -> str:
    """Return the media type of an image or PDF, "page", "markdown", "table", "text", or "" without a preview."""
    for signature, media_type in SIGNATURES.items():
        if head.startswith(signature):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    lower = name.lower()
    if lower.endswith(".svg") and b"<svg" in head:
        return SVG
    kinds = (("table", TABLES), ("page", PAGES), ("markdown", MARKDOWN), ("text", TEXTS))
    return next((kind for kind, endings in kinds if lower.endswith(endings)), "")


def preview(request: HttpRequest, name: str, content: bytes) -> HttpResponse:
    kind = kind_of(name, content[:4096])
    if kind == "page" and request.headers.get("Sec-Fetch-Dest") == "document":
        kind = "text"  # by itself, in a tab of its own, the page could pass for one of ours
    if "/" in kind or kind == "page":
        response = HttpResponse(content, content_type="text/html; charset=utf-8" if kind == "page" else kind)
        response["Content-Disposition"] = "inline"
    else:
        response = render(request, "executions/preview.html", _source(name, content, kind))
    policies = {PDF: PDF_POLICY, SVG: STYLED, "page": STYLED}
    response["Content-Security-Policy"] = policies.get(kind, POLICY)
    response["X-Frame-Options"] = "SAMEORIGIN"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response


def _source(name: str, content: bytes, kind: str) -> dict[str, Any]:
    longest = LONGEST_MARKDOWN if kind == "markdown" else LONGEST_TEXT
    text = content[: 4 * longest].decode("utf-8", "replace")
    context: dict[str, Any] = {"name": name, "text": text[:longest], "cut": len(text) > longest}
    if kind == "table":
        context["rows"] = _rows(text, "\t" if name.lower().endswith(".tsv") else ",")
    elif kind == "markdown":
        context["page"] = _rendered(text[:longest])
    return context


def _rendered(text: str) -> SafeString:
    # Safe: the renderer escapes HTML and refuses links to scripts; and the frame is a sandbox.
    return mark_safe(str(RENDERER.render(text)))  # noqa: S308


def _rows(text: str, delimiter: str) -> list[list[str]]:
    rows = []
    try:
        for row in csv.reader(io.StringIO(text.replace("\0", "\ufffd")), delimiter=delimiter):
            rows.append([cell[:LONGEST_CELL] for cell in row[:MOST_COLUMNS]])
            if len(rows) >= MOST_ROWS:
                break
    except csv.Error:
        return []
    return rows
