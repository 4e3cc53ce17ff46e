"""Streamed downloads of any length: CSV for spreadsheets, JSON lines for programs."""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.utils.encoders import JSONEncoder

MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
# A spreadsheet evaluates a cell that begins with one of these as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_download(name: str, kind: str, lines: Iterable[str]) -> StreamingHttpResponse:
    """Return a response that streams the lines as a file. `kind`: one of MEDIA_TYPES."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{kind}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    return StreamingHttpResponse(lines, content_type=MEDIA_TYPES[kind], headers=headers)


class _Line:
    """A file for csv.writer whose write() returns the line, so that writerow() returns it too."""

    def write(self, line: str) -> str:
        return line


def csv_lines(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow(_cell(value) for value in row)


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return _dumps(value)
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value.isoformat() if hasattr(value, "isoformat") else value


def json_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield _dumps(row) + "\n"


def _dumps(value: Any) -> str:
    return json.dumps(value, cls=JSONEncoder, separators=(",", ":"))
