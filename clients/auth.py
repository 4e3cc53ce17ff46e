"""Authentication: find the client by the token in the request."""

import base64
import binascii
import logging

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from clients.models import Client, Token, hash_token
from sandbox_platform.kit.compiled import Compiled

logger = logging.getLogger(__name__)


class AnonymousCaller:
    """A caller without a token, on a platform that allows unauthenticated calls."""

    is_authenticated = True
    may_run = True
    may_administer = False
    sees_everything = False


class NotConfigured(APIException):
    status_code = 503
    default_detail = (
        "No API token is configured. Set SANDBOX_EXECUTOR_MANAGER_API_TOKEN and run `manage.py bootstrap`, or "
        "create a client in the admin."
    )
    default_code = "not_configured"


class TokenRefused(AuthenticationFailed):
    """The token was valid once. `client_id`: whose it is."""

    def __init__(self, why: str, client_id: int) -> None:
        super().__init__(why)
        self.client_id = client_id


def token_of(request: Request) -> str:
    """Return the token from `Authorization: Bearer`, Basic (the password) or `X-Sandbox-Token`; "" without one.

    Basic serves RAGFlow versions without support for tokens: with the endpoint `http://ragflow:TOKEN@host:9385` their
    HTTP client sends the token as the password.
    """
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip()
        case "basic":
            try:
                return base64.b64decode(value, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return ""
    return request.headers.get("X-Sandbox-Token", "").strip()


def foreign_origin(request: Request) -> str:
    """Return the site whose page has a browser send the request, if it is another one, else "".

    Browsers name the site in `Origin` whenever a request may change something; other callers send no `Origin`.
    """
    origin = request.headers.get("Origin")
    if origin is None or origin in settings.CSRF_TRUSTED_ORIGINS:
        return ""
    return "" if origin == f"{request.scheme}://{request.get_host()}" else origin[:200] or "an unnamed site"


def check_origin(request: Request) -> None:
    """Refuse a request of another site's page: without a token, nothing else tells it apart."""
    if origin := foreign_origin(request):
        raise PermissionDenied(
            f"Requests without a token are not taken from pages of {origin}. Send a token, or add the origin to "
            "DJANGO_CSRF_TRUSTED_ORIGINS."
        )


TOKEN = Compiled(
    lambda sha256: Token.objects.select_related("client").filter(token_sha256=sha256), sha256=hash_token("")
)


def token_with(text: str) -> Token | None:
    return next(iter(TOKEN(sha256=hash_token(text))), None)


class TokenAuthentication(BaseAuthentication):
    def token_of(self, request: Request) -> str:
        return token_of(request)

    def authenticate(self, request: Request) -> tuple[Client | AnonymousCaller, Token | None]:
        text = self.token_of(request)
        if text and (token := token_with(text)):
            # Only the holder of a token that was valid once learns the reason.
            if refusal := token.refusal():
                raise TokenRefused(refusal, token.client_id)
            token.note_use()
            return token.client, token
        if settings.RAGFLOW_ALLOW_UNAUTHENTICATED:
            check_origin(request)
            return AnonymousCaller(), None
        if not Token.objects.usable().exists():
            raise NotConfigured
        raise AuthenticationFailed("The API token is missing or wrong.")

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="sandbox"'
