"""A platform that gives these answers, one after the other."""

import httpx
from sandbox_client import Retries, Sandbox

Answer = httpx.Response | Exception


def answering(*answers: Answer, seen: list[httpx.Request] | None = None, retries: int = 4) -> Sandbox:
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return Sandbox("http://platform", "t", transport=httpx.MockTransport(answer), retries=Retries(most=retries))
