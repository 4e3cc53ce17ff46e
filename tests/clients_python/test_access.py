"""Addresses and tokens that cannot be used, and must not be shown."""

from pathlib import Path

import httpx
import pytest
from sandbox_client import InvalidArgument, Sandbox

SECRET = "s3cret"  # noqa: S105


def sent(token: str) -> str:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"client": None, "role": "caller"})

    Sandbox("http://platform", token, transport=httpx.MockTransport(answer)).me()
    return seen[0].headers.get("Authorization", "")


@pytest.mark.parametrize("token", [SECRET, f"{SECRET}\r", f" {SECRET} \n"])
def test_blanks_around_a_token_do_not_count(token: str) -> None:
    assert sent(token) == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    "token", [f"{SECRET}\rx", f"{SECRET} x", f"{SECRET}ü", f"{SECRET}\x7f", f"{SECRET}\ud800"]
)
def test_another_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Sandbox("http://platform", token)
    assert SECRET not in repr(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@platform",
        f"http://{SECRET}@platform",
        f"http://platform:{SECRET}",
        f"{SECRET}.example:9385",
        "http://",
        "ftp://platform",
        "http://plat\nform",
    ],
)
def test_another_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidArgument, match="address") as refused:
        Sandbox(url, "t")
    assert SECRET not in repr(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_blanks_and_slashes_at_its_end_do_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SANDBOX_URL", " https://platform/at/ \n")
    assert repr(Sandbox(token="")) == "Sandbox('https://platform/at')"
