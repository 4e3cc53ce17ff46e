"""Checks of how people log in: combinations that lock everybody out, or let somebody in."""

import ipaddress
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register


@register(Tags.security)
def check_sign_on(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    messages: list[CheckMessage] = []
    issuer = settings.SANDBOX_OIDC_ISSUER
    if not settings.SANDBOX_LOCAL_LOGIN and not issuer:
        messages.append(
            Error(
                "Nobody can log in: SANDBOX_LOCAL_LOGIN is off and there is no SANDBOX_OIDC_ISSUER.",
                hint="Set an issuer, or SANDBOX_LOCAL_LOGIN=True.",
                id="people.E001",
            )
        )
    if urlsplit(issuer).scheme == "http" and not _is_loopback(urlsplit(issuer).hostname or ""):
        messages.append(
            Error(
                f"The OpenID provider {issuer} is asked without TLS: whoever is on the way decides who is logged in.",
                hint="Use its https:// address. http:// is for a provider on this machine's loopback only.",
                id="people.E002",
            )
        )
    if issuer and not settings.SANDBOX_OIDC_CLIENT_SECRET:
        messages.append(
            Warning(
                "The OpenID provider is asked without a client secret, as a public client: only PKCE protects codes.",
                hint="Make a confidential client there, and set SANDBOX_OIDC_CLIENT_SECRET.",
                id="people.W001",
            )
        )
    if issuer and settings.SANDBOX_OIDC_LINK_BY_EMAIL:
        messages.append(
            Warning(
                "Whoever can have an e-mail address verified at the provider gets the local account with that address.",
                hint="Unset SANDBOX_OIDC_LINK_BY_EMAIL once everybody has logged in through the provider.",
                id="people.W002",
            )
        )
    return messages


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
