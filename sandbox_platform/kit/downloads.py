import re

from django.http import HttpResponse
from django.utils.http import content_disposition_header

CONTROL = re.compile(r"[\x00-\x1f\x7f/\\]")


def as_attachment(name: str, content: bytes, content_type: str = "application/octet-stream") -> HttpResponse:
    """Return untrusted content as a download: the browser saves it, and neither renders it nor guesses its type."""
    response = HttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(True, CONTROL.sub("_", name)) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Cache-Control"] = "private, no-store"
    return response
