"""By which method a session was opened, as the trail and the lists of logins and sessions say it."""

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from axes.helpers import get_client_session_hash
from axes.models import AccessLog
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest

from people.models import First, LoginMethod

PASSWORD, OPENID, RECOVERY = First.PASSWORD.value, First.OPENID.value, First.RECOVERY.value
# The session's own note of it, which the middleware reads.
KIND, ISSUER, UNTIL, STRONG = "sign_on_kind", "sign_on_issuer", "sign_on_until", "sign_on_second_factor"
# The provider's ID token, if a logout leads on to the provider.
HINT = "sign_on_id_token"


def method_of(request: HttpRequest, user: AbstractBaseUser | None) -> LoginMethod:
    """Return how the user has authenticated in this session, last if more than once. It is not stored."""
    method = LoginMethod()
    for record in records(request, user):
        match record:
            case {"reauthenticated": True}:
                pass
            case {"method": "mfa", "passwordless": True}:
                method = LoginMethod(first=First.PASSKEY)
            case {"method": "mfa"}:
                method.second = record.get("type", "")
            case {"method": first}:
                method = LoginMethod(first=first, issuer=record.get("issuer", ""))
    return method


def keep(request: HttpRequest, user: AbstractBaseUser, method: LoginMethod) -> None:
    """Store the method with the row of the logins that django-axes has just made of this session."""
    logins = AccessLog.objects.filter(username=user.get_username(), session_hash=get_client_session_hash(request))
    method.login = logins.latest("pk")
    method.save(force_insert=True)


def records(request: HttpRequest, user: AbstractBaseUser | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get_authentication_records(request, user)
    return found


def note(request: HttpRequest, user: AbstractBaseUser) -> None:
    """Write into the session what the middleware asks at every request."""
    done = records(request, user)
    kinds = [record["method"] for record in done]
    kind = OPENID if OPENID in kinds else RECOVERY if RECOVERY in kinds else PASSWORD
    request.session[KIND] = kind
    request.session[ISSUER] = next((record["issuer"] for record in done if record["method"] == OPENID), "")
    # The provider asks for a second factor if it wants one; a recovery link is for who has lost theirs.
    request.session[STRONG] = kind != PASSWORD or "mfa" in kinds
