"""A real OpenID provider on loopback, in a process of its own, and the walk of a browser to it and back."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import requests
from django.test import Client as Browser
from django.urls import reverse

from tests.live import eventually, free_port


class Provider:
    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"

    def knows(self, subject: str, **claims: object) -> None:
        """Somebody whom the provider lets in, with these claims from now on."""
        requests.put(f"{self.issuer}/users/{subject}", json=claims, timeout=10).raise_for_status()

    def lets_in(self, address: str, subject: str, action: str = "authorize") -> str:
        """Where the provider sends the browser that has come to this address, and where its person logs in."""
        answer = requests.post(address, {"sub": subject, "action": action}, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]


@contextmanager
def running() -> Iterator[Provider]:
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        provider = Provider(port)

        def answers() -> bool:
            try:
                return requests.get(f"{provider.issuer}/jwks", timeout=5).ok
            except requests.RequestException:
                return False

        eventually(answers, "the provider answers")
        yield provider
    finally:
        process.terminate()
        process.wait(10)


def go(browser: Browser, **query: str) -> str:
    """The address of the provider to which the login page leads."""
    answer = browser.get(reverse("sign_on_start"), query)
    assert answer.status_code == 302, answer.content
    return str(answer["Location"])


def changed(address: str, **values: str) -> str:
    return f"{address.partition('?')[0]}?{urlencode(dict(parse_qsl(urlsplit(address).query)) | values)}"


def query(address: str) -> dict[str, Any]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def sign_on(browser: Browser, provider: Provider, subject: str, **wanted: str) -> Any:
    """The platform's answer to the browser that comes back from the provider."""
    return browser.get(provider.lets_in(go(browser, **wanted), subject))
