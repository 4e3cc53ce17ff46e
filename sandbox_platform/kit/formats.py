"""The wire formats of other sandboxes that clients may be allowed to use: addresses, tokens and the shape of refusals.

The kit has them because several rooms need them: the web server writes refusals in a format, requests are counted by
format, and a client has a switch for each. api/compatible implements the formats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Refusal:
    status: int
    text: str
    field: str = ""  # the field at fault, as the format names it
    retry_after_s: int | None = None


@dataclass(frozen=True)
class Format:
    """`render` returns the HTTP status and the body of a refusal, as the format's own server would send them."""

    name: str  # endpoint of its executions, and its switch in Client.formats
    title: str
    addresses: tuple[str, ...]  # first parts of its paths; those below belong to it, too
    token_headers: tuple[str, ...]  # headers that may hold a token, besides those that every door reads
    render: Callable[[Refusal], tuple[int, Any]]
    own_labels: tuple[str, ...] = ()  # labels that the format sets; callers cannot, so they hold no secret

    def has(self, path: str) -> bool:
        return any(path == address or path.startswith(f"{address}/") for address in self.addresses)


def _piston(refusal: Refusal) -> tuple[int, Any]:
    text = refusal.text
    if refusal.field and not text.startswith(refusal.field):
        text = f"{refusal.field}: {text}"
    return 400 if refusal.status in (409, 422) else refusal.status, {"message": text}


PISTON = Format(
    name="piston",
    title="Piston",
    addresses=("/api/v2",),
    token_headers=(),
    render=_piston,
)


def _judge0(refusal: Refusal) -> tuple[int, Any]:
    if refusal.status == 422 and refusal.field:
        return 422, {refusal.field: [refusal.text]}
    return 400 if refusal.status == 422 else refusal.status, {"error": refusal.text}


JUDGE0 = Format(
    name="judge0",
    title="Judge0",
    addresses=("/submissions", "/languages", "/statuses", "/about", "/config_info"),
    token_headers=("X-Auth-Token", "X-RapidAPI-Key"),
    render=_judge0,
    own_labels=("judge0.expected",),
)


def _dify(refusal: Refusal) -> tuple[int, Any]:
    """Dify shows its users the message of a 200 alone, and tells 503 from all other failures."""
    code = {409: 400, 422: 400, 429: 503}.get(refusal.status, refusal.status)
    status = 200 if code in (400, 403, 413, 415) else code
    text = f"{refusal.field}: {refusal.text}" if refusal.field else refusal.text
    return status, {"code": -code, "message": text, "data": None}


DIFY = Format(
    name="dify",
    title="Dify",
    addresses=("/v1/sandbox", "/health"),
    token_headers=("X-Api-Key",),
    render=_dify,
)


def _sandbox_fusion(refusal: Refusal) -> tuple[int, Any]:
    """FastAPI's refusals; a fault of ours has the fields of an answer, too, by which clients know it."""
    if refusal.status == 422:
        where = ["body", refusal.field] if refusal.field else ["body"]
        return 422, {"detail": [{"type": "value_error", "loc": where, "msg": refusal.text}]}
    if refusal.status >= 500:
        fault = {"status": "SandboxError", "message": refusal.text}
        return refusal.status, {"detail": refusal.text} | fault
    return refusal.status, {"detail": refusal.text}


SANDBOX_FUSION = Format(
    name="sandboxfusion",
    title="SandboxFusion",
    addresses=("/run_code", "/run_jupyter"),
    token_headers=(),
    render=_sandbox_fusion,
)


def _librechat(refusal: Refusal) -> tuple[int, Any]:
    """LibreChat tells its users when to try again if `error` is this word, and shows no text of ours."""
    text = f"{refusal.field}: {refusal.text}" if refusal.field else refusal.text
    if refusal.status == 429:
        busy = {"error": "rate_limited", "message": text}
        return 429, busy | ({"retry_after_seconds": refusal.retry_after_s} if refusal.retry_after_s else {})
    return 400 if refusal.status in (409, 422) else refusal.status, {"error": text}


LIBRECHAT = Format(
    name="librechat",
    title="LibreChat",
    addresses=("/exec", "/upload", "/download", "/files", "/sessions"),
    token_headers=("X-Api-Key",),
    render=_librechat,
    own_labels=("librechat",),
)
FORMATS = (PISTON, JUDGE0, DIFY, SANDBOX_FUSION, LIBRECHAT)
TOKEN_HEADERS = sorted({header for format in FORMATS for header in format.token_headers})
CHOICES = [(format.name, f"{format.title} ({', '.join(format.addresses)})") for format in FORMATS]


def at(path: str) -> Format | None:
    """Return the format that a path belongs to."""
    return next((format for format in FORMATS if format.has(path)), None)


def own_labels(endpoint: str | None) -> tuple[str, ...]:
    """Return the labels that the format of an execution has set itself."""
    return next((format.own_labels for format in FORMATS if format.name == endpoint), ())
