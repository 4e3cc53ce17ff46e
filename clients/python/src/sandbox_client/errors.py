"""What the client raises. Every error of the platform carries its problem document (RFC 9457)."""

from __future__ import annotations

import email.utils
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from sandbox_client.models import Batch, Execution

PREFIX = "urn:sandbox-platform:problem:"


class SandboxError(Exception):
    """Base of everything that this package raises.

    `submitted_id` is the id of the execution or batch that the platform had accepted before; it continues.
    """

    submitted_id: str | None = None


class InvalidArgument(SandboxError, ValueError):
    """An address, a token or another argument cannot be used. Nothing was sent."""


class ConnectionFailed(SandboxError):
    """The platform could not be reached, or the connection was lost and no retry helped."""


class UnexpectedAnswer(SandboxError):
    """The answer is not one of this API: the address may belong to another server."""


class WaitTimeout(SandboxError, TimeoutError):
    """The execution or batch had not ended when the time was over. It continues."""

    def __init__(self, waited_for: Execution | Batch) -> None:
        super().__init__(f"{waited_for.id} has not ended yet; it continues")
        self.waited_for = waited_for


class RunFailed(SandboxError):
    """The program did not succeed: raised by `Execution.check()` only."""

    def __init__(self, execution: Execution) -> None:
        super().__init__(f"{execution.status}: {execution.message}")
        self.execution = execution


@dataclass(frozen=True)
class Problem:
    """A problem document: what is wrong, which field, and how to correct it."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    remedy: str | None = None

    @property
    def code(self) -> str:
        """The end of `type`, such as `over_limit`."""
        return self.type.removeprefix(PREFIX)

    def __str__(self) -> str:
        parts = [f"{self.field}: {self.detail}" if self.field else self.detail or self.title, self.remedy or ""]
        return " ".join(part for part in parts if part)


class ProblemError(SandboxError):
    """The platform refused a request. `problem` says why."""

    def __init__(self, problem: Problem, *, retry_after: float | None = None, request_id: str = "") -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.retry_after = retry_after
        self.request_id = request_id


class InvalidRequest(ProblemError):
    """400, 413, 415 or 422: the request is malformed or too large, or a field is wrong."""


class Unauthorized(ProblemError):
    """401: the token is missing or wrong."""


class Forbidden(ProblemError):
    """403: the client has no permission."""


class NotFound(ProblemError):
    """404: not found, or it belongs to another client."""


class Conflict(ProblemError):
    """409: the request conflicts with the present state, for example because the execution has ended."""


class OverLimit(ProblemError):
    """429: a quota of the client is used up. `retry_after` says for how many seconds."""


class Unavailable(ProblemError):
    """5xx: the platform cannot answer now."""


KINDS: dict[int, type[ProblemError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: OverLimit,
}


def error_of(response: httpx.Response) -> SandboxError:
    """Return the exception for an answer that is no success; its body has been read."""
    status = response.status_code
    problem = _problem_of(response)
    kind = KINDS.get(status) or (Unavailable if status >= 500 else None)
    if kind is None:
        return UnexpectedAnswer(f"{response.request.method} {response.request.url}: {problem.title} ({status})")
    return kind(
        problem,
        retry_after=retry_after(response.headers.get("Retry-After")),
        request_id=response.headers.get("X-Request-Id", ""),
    )


def _problem_of(response: httpx.Response) -> Problem:
    """Return the answer's problem document, or one made of its status if a proxy answered in the platform's place."""
    status = response.status_code
    title = response.reason_phrase or f"HTTP {status}"
    try:
        body: Any = json.loads(response.content)
    except ValueError:
        body = None
    if not isinstance(body, dict) or "detail" not in body:
        return Problem("about:blank", title, status, f"{title} (HTTP {status})")
    texts = {name: str(body[name]) for name in ("field", "remedy") if body.get(name) is not None}
    kind, title = str(body.get("type", "about:blank")), str(body.get("title", title))
    return Problem(kind, title, status, str(body["detail"]), texts.get("field"), texts.get("remedy"))


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which has a number or a date; None if there is none."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
