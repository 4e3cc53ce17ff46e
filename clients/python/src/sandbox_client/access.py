"""The address and the token of a platform, checked before they are used or shown."""

from __future__ import annotations

import re

import httpx

from sandbox_client.errors import InvalidArgument

# What a header may carry. Errors of HTTP libraries show what they refuse, so a token must not get that far.
TOKEN = re.compile(r"[\x21-\x7e]+")


def address_of(url: str) -> str:
    """Return the platform's URL without the slash at its end. Raises InvalidArgument, which does not show it."""
    url = url.strip()
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise InvalidArgument("the address of the platform is not a URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidArgument("the address of the platform must be a URL such as http://127.0.0.1:9385")
    if parsed.userinfo:
        # It would be shown with the address, and replace the token.
        raise InvalidArgument("the address of the platform must hold no user name or password: send a token")
    return url.rstrip("/")


def checked_token(token: str) -> str:
    """Return the token without blanks around it. Raises InvalidArgument, which does not show it."""
    token = token.strip()
    if token and not TOKEN.fullmatch(token):
        raise InvalidArgument("the token has blanks, control characters or letters outside of ASCII")
    return token
