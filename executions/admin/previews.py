"""Previews of artifacts. An artifact is untrusted: nothing in it may run or learn about the page around it.

The media type of an image comes from its first bytes. CSV is shown as a table of escaped cells, PDF by the browser's
viewer. Every response has its own content security policy: a sandbox without origin, scripts and requests.
"""

import csv
import io
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from executions.models import Artifact

PDF = "application/pdf"
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"%PDF-": PDF,
}
TABLES = (".csv", ".tsv")
TEXTS = (".txt", ".json", ".jsonl", ".md", ".log", ".xml", ".yaml", ".yml", ".html", ".svg", ".py", ".js")
MOST_ROWS, MOST_COLUMNS, LONGEST_CELL = 200, 50, 300
LONGEST_TEXT = 100_000
# No `allow-scripts` and no `allow-same-origin`. Only pages of this site may frame a preview.
POLICY = "sandbox; default-src 'none'; img-src 'self' data:; style-src 'self'; frame-ancestors 'self'"
# For the browser's PDF viewer. Chromium 156 shows no PDF in a frame with the attribute `sandbox`, but shows one under
# this policy, of which it applies all but the sandbox. Other browsers may apply that too, and then show nothing.
# A PDF's scripts run in the viewer's process, without page or network: they can do no more than show a dialog.
PDF_POLICY = "sandbox; default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"


def kind_of(name: str, head: bytes) -> str:
    """Return the media type of an image or PDF, "table", "text", or "" if there is no preview."""
    for signature, media_type in SIGNATURES.items():
        if head.startswith(signature):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    lower = name.lower()
    if lower.endswith(TABLES):
        return "table"
    return "text" if lower.endswith(TEXTS) else ""


def preview(request: HttpRequest, artifact: Artifact) -> HttpResponse:
    content = bytes(artifact.content)
    kind = kind_of(artifact.name, content[:16])
    if "/" in kind:
        response = HttpResponse(content, content_type=kind)
        response["Content-Disposition"] = "inline"
    else:
        text = content[: 4 * LONGEST_TEXT].decode("utf-8", "replace")
        context: dict[str, Any] = {"name": artifact.name, "rows": None, "text": text[:LONGEST_TEXT]}
        if kind == "table":
            context["rows"] = _rows(text, "\t" if artifact.name.lower().endswith(".tsv") else ",")
        response = render(request, "executions/preview.html", context)
    response["Content-Security-Policy"] = PDF_POLICY if kind == PDF else POLICY
    response["X-Frame-Options"] = "SAMEORIGIN"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response


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
