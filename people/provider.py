"""The OpenID provider: asks it who somebody is. Authlib checks state, nonce, PKCE and the ID token's signature.

Raises ProviderError for whatever the provider does wrong; its text is a message for the person.
"""

import functools
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.django_client import DjangoOAuth2App, OAuth
from authlib.integrations.requests_client import OAuth2Session
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from joserfc.errors import JoseError

logger = logging.getLogger(__name__)

# Until the connection is there, and between two packets.
TIMEOUT_S = (5, 10)
# Of one answer: metadata, keys, tokens and claims take a few KiB.
MOST_BYTES = 1 << 20
# Of an ID token in an address: servers refuse longer addresses.
LONGEST_HINT = 4000
# In all, however slowly it comes.
LONGEST_S = 20
# Signatures with a secret key that both sides have are refused, and so are tokens without any.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# Metadata and keys are read again after this time; keys also when a token names an unknown one.
METADATA_S = 3600


class ProviderError(Exception):
    pass


@dataclass(frozen=True)
class Claims:
    """What the provider says of a person. `groups` is None if it says nothing about groups."""

    issuer: str
    subject: str
    username: str
    email: str
    email_verified: bool
    first_name: str
    last_name: str
    groups: frozenset[str] | None
    # As the provider signed it: shows the provider at the logout whose it is.
    id_token: str = field(default="", repr=False)


class _BoundedSession(OAuth2Session):  # type: ignore[misc]
    """Requests that end in time, answers that fit in memory, and no redirects to elsewhere."""

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        kwargs |= {"timeout": TIMEOUT_S, "stream": True, "allow_redirects": False}
        response: requests.Response = super().request(method, url, **kwargs)
        deadline, content = time.monotonic() + LONGEST_S, bytearray()
        with response:
            for chunk in response.iter_content(1 << 16):
                content += chunk
                if len(content) > MOST_BYTES or time.monotonic() > deadline:
                    raise ProviderError(f"{url} answers with more than {MOST_BYTES} bytes, or too slowly.")
        response._content = bytes(content)
        if response.is_redirect:
            raise ProviderError(f"{url} redirects. SANDBOX_OIDC_ISSUER must be the provider's own address.")
        return response


class _Client(DjangoOAuth2App):  # type: ignore[misc]
    client_cls = _BoundedSession

    def load_server_metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = super().load_server_metadata()
        if metadata.get("issuer") != settings.SANDBOX_OIDC_ISSUER:
            issuer = metadata.get("issuer")
            self.server_metadata.clear()
            raise ProviderError(
                f"The provider calls itself {issuer!r}, and SANDBOX_OIDC_ISSUER is {settings.SANDBOX_OIDC_ISSUER!r}."
            )
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [name for name in offered if name in ALGORITHMS]
        return metadata


def is_configured() -> bool:
    return bool(settings.SANDBOX_OIDC_ISSUER)


@functools.lru_cache(maxsize=1)
def _client_of(issuer: str, client_id: str, secret: str, scopes: str, period: int) -> Any:
    oauth = OAuth()
    return oauth.register(
        "provider",
        client_cls=_Client,
        client_id=client_id,
        client_secret=secret or None,
        server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": scopes,
            "code_challenge_method": "S256",
            # A public client has PKCE only.
            **({} if secret else {"token_endpoint_auth_method": "none"}),
        },
    )


def _client() -> Any:
    return _client_of(
        settings.SANDBOX_OIDC_ISSUER,
        settings.SANDBOX_OIDC_CLIENT_ID,
        settings.SANDBOX_OIDC_CLIENT_SECRET,
        settings.SANDBOX_OIDC_SCOPES,
        int(time.monotonic() // METADATA_S),
    )


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except requests.RequestException as e:
        logger.warning("the OpenID provider cannot be reached: %s", type(e).__name__)
        raise ProviderError("The provider cannot be reached, or answers with an error.") from e
    except (AuthlibBaseError, JoseError) as e:
        # Its code only: the description may quote what was sent.
        code = getattr(e, "error", type(e).__name__)
        logger.warning("the OpenID provider's answer is refused: %s", code)
        raise ProviderError(f"The provider's answer is refused ({code}).") from e
    except (ValueError, KeyError, TypeError, RuntimeError) as e:
        logger.warning("the OpenID provider's answer is malformed: %s", type(e).__name__)
        raise ProviderError("The provider's answer is malformed.") from e


def redirect(request: HttpRequest, callback: str) -> HttpResponse:
    """Return the redirect to the provider, whose answer comes to the address `callback`."""
    with _errors():
        response: HttpResponse = _client().authorize_redirect(request, callback)
        return response


def claims_of(request: HttpRequest) -> Claims:
    """Return who the provider says has come back. The request is that to the callback, in the same session."""
    with _errors():
        client = _client()
        token = client.authorize_access_token(request)
        claims = dict(token.get("userinfo") or {})
        if not claims.get("sub"):
            raise ProviderError("The provider has sent no ID token.")
        if _groups(claims) is None and client.server_metadata.get("userinfo_endpoint"):
            more = dict(client.userinfo(token=token))
            if more.get("sub") != claims["sub"]:
                raise ProviderError("The provider names two different persons.")
            claims = more | claims
        return replace(_read(claims), id_token=str(token.get("id_token") or ""))


def logout_address(id_token: str, back: str) -> str:
    """Return the provider's address that logs the person out there and leads to `back`, "" if it has none."""
    with _errors():
        client = _client()
        endpoint = client.load_server_metadata().get("end_session_endpoint")
        if not isinstance(endpoint, str) or urlsplit(endpoint).scheme not in ("https", _scheme()):
            return ""
        hint = id_token if len(id_token) <= LONGEST_HINT else None
        asked = client.create_logout_url(back, hint or None, client_id=settings.SANDBOX_OIDC_CLIENT_ID)
        return str(asked["url"])


def _scheme() -> str:
    return urlsplit(settings.SANDBOX_OIDC_ISSUER).scheme


def _read(claims: dict[str, Any]) -> Claims:
    def text(name: str, longest: int) -> str:
        value = claims.get(name)
        return value.strip()[:longest] if isinstance(value, str) else ""

    subject = claims["sub"]
    if not isinstance(subject, str) or len(subject) > 255 or "\0" in subject:
        raise ProviderError("The provider's name of the person (sub) is malformed.")
    return Claims(
        issuer=settings.SANDBOX_OIDC_ISSUER,
        subject=subject,
        username=text("preferred_username", 150),
        email=text("email", 254),
        # Some providers send text. A number is no truth.
        email_verified=claims.get("email_verified") is True or claims.get("email_verified") == "true",
        first_name=text("given_name", 150),
        last_name=text("family_name", 150),
        groups=_groups(claims),
    )


def _groups(claims: dict[str, Any]) -> frozenset[str] | None:
    value: Any = claims
    for part in settings.SANDBOX_OIDC_GROUPS_CLAIM.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        # A name with dots in it, such as a URL.
        value = claims.get(settings.SANDBOX_OIDC_GROUPS_CLAIM)
    if isinstance(value, str):
        return frozenset([value])
    return frozenset(each for each in value if isinstance(each, str)) if isinstance(value, list) else None
