"""Answers of the web server itself, in the shapes that the clients of each door know."""

import json
from http import HTTPStatus

from sandbox_platform.kit import formats
from sandbox_platform.kit.sources import Sources

RETRY_AFTER_S = 2
TYPE = "urn:sandbox-platform:problem:"
# Called for each 429, in the event loop: an answer must be quick and must not fail.
refused: Sources[[], None] = Sources()
CODES = {408: "too_slow", 413: "too_large", 429: "busy", 431: "too_large"}


def answer(status: int, detail: str, path: bytes) -> bytes:
    """Return the bytes of the response, after which the connection is closed."""
    retry_after_s = RETRY_AFTER_S if status == HTTPStatus.TOO_MANY_REQUESTS else None
    if retry_after_s:
        refused()
    title = HTTPStatus(status).phrase
    body: dict[str, object] = {"detail": detail}
    kind = "application/json"
    if format := formats.at(path.decode("ascii", "replace")):
        status, body = format.render(formats.Refusal(status, detail, retry_after_s=retry_after_s))
        title = HTTPStatus(status).phrase
    elif path.startswith(b"/api/"):
        kind = "application/problem+json"
        body = {"type": TYPE + CODES[status], "title": title, "status": status, "detail": detail}
        body |= {"field": None, "remedy": None}
    elif path == b"/run" and status == HTTPStatus.TOO_MANY_REQUESTS:
        body = {"status": "program_runner_error", "stdout": "", "stderr": detail, "exit_code": -429}
        body["detail"] = CODES[status]
    elif path.rstrip(b"/") == b"/mcp":
        body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": detail}}
    content = json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} {title}", f"Content-Type: {kind}", f"Content-Length: {len(content)}"]
    if retry_after_s:
        head.append(f"Retry-After: {retry_after_s}")
    head.append("Connection: close")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content
