"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass

import httpx

from sandbox_client.errors import OverLimit, SandboxError, Unavailable

# Raised before a byte of the request was sent.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# No other attempt would help.
HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True)
class Retries:
    """How often and how long to retry.

    A request is sent again after a 429 with Retry-After, and after a 503 with it or a lost connection if a repeat
    does no harm: reading and cancelling do none, and a submission has an Idempotency-Key. A batch has none, and may
    have been accepted before a 503: it is sent again only after a 429, or if the connection was never made.
    """

    most: int = 4
    """Retries of one request. 0: none."""
    longest_wait: float = 60.0
    """Seconds. A longer Retry-After is raised to the caller instead."""

    def after_refusal(self, attempt: int, error: SandboxError, *, repeatable: bool) -> float | None:
        """Return the pause in seconds before the next attempt; None: raise the error."""
        if not isinstance(error, (OverLimit, Unavailable)):
            return None
        if error.problem.status != 429 and not (repeatable and error.problem.status == 503):
            return None
        pause = error.retry_after
        if attempt >= self.most or pause is None or pause > self.longest_wait:
            return None
        return pause

    def after_failure(self, attempt: int, error: httpx.TransportError, *, repeatable: bool) -> float | None:
        """Return the pause in seconds before the next attempt; None: raise the error."""
        if attempt >= self.most or isinstance(error, HOPELESS):
            return None
        return self.pause(attempt) if repeatable or isinstance(error, NOT_SENT) else None

    @staticmethod
    def pause(attempt: int) -> float:
        """Return a pause that doubles with each attempt, with jitter: many clients must not come back at once."""
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt)
        return longest * random.uniform(0.5, 1)  # noqa: S311
