"""By which method a session was opened, as the trail and the lists of sessions say it."""

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest

PASSWORD, OPENID, RECOVERY = "password", "openid", "recovery"
FACTORS = {"totp": "authenticator app", "recovery_codes": "recovery code", "webauthn": "security key"}
# The session's own note of it, which the middleware reads.
KIND, ISSUER, UNTIL, STRONG = "sign_on_kind", "sign_on_issuer", "sign_on_until", "sign_on_second_factor"


def method_of(request: HttpRequest, user: AbstractBaseUser | None) -> str:
    """Return how the user has authenticated in this session, e.g. "password and authenticator app"."""
    parts = [_word(record) for record in records(request, user) if not record.get("reauthenticated")]
    return " and ".join(dict.fromkeys(parts)) or "unknown"


def records(request: HttpRequest, user: AbstractBaseUser | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get_authentication_records(request, user)
    return found


def _word(record: dict[str, Any]) -> str:
    match record["method"]:
        case "mfa" if record.get("passwordless"):
            return "passkey"
        case "mfa":
            return FACTORS.get(record.get("type", ""), "second factor")
        case "openid":
            return f"OpenID Connect ({record.get('issuer')})"
        case "recovery":
            return "recovery link"
        case method:
            return str(method)


def note(request: HttpRequest, user: AbstractBaseUser) -> None:
    """Write into the session what the middleware asks at every request."""
    done = records(request, user)
    kinds = [record["method"] for record in done]
    kind = OPENID if OPENID in kinds else RECOVERY if RECOVERY in kinds else PASSWORD
    request.session[KIND] = kind
    request.session[ISSUER] = next((record["issuer"] for record in done if record["method"] == OPENID), "")
    # The provider asks for a second factor if it wants one; a recovery link is for who has lost theirs.
    request.session[STRONG] = kind != PASSWORD or "mfa" in kinds
