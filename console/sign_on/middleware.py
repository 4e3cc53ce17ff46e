"""Ends sessions that are no longer allowed, and asks for a second factor where one is required."""

import time
from collections.abc import Callable

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from console.errors import is_console
from console.sign_on import methods

# "Last seen" in the lists of sessions is as exact as this.
SEEN_S = 300
SEEN = "sign_on.seen"


class SignOnMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if is_console(request) and SESSION_KEY in request.session and isinstance(request.user, User):
            if why := _ended(request):
                logout(request)
                messages.warning(request, why)
                return redirect_to_login(request.get_full_path() if request.method == "GET" else "/admin/")
            if needs_second_factor(request, request.user) and not _leads_to_one(request):
                messages.warning(request, "Your role requires a second factor. Set one up to go on.")
                return HttpResponseRedirect(reverse("mfa_index"))
            _note_seen(request)
        return self.get_response(request)


def _ended(request: HttpRequest) -> str:
    """Return why the session is over, "" if it is not."""
    kind = request.session.get(methods.KIND, methods.PASSWORD)
    if kind == methods.PASSWORD and not settings.SANDBOX_LOCAL_LOGIN:
        return "Local login is switched off. Log in through the provider."
    if kind == methods.OPENID and request.session.get(methods.ISSUER) != settings.SANDBOX_OIDC_ISSUER:
        return "The provider that you logged in through is no longer in use."
    if time.time() > request.session.get(methods.UNTIL, float("inf")):
        return "Your session has reached its longest duration. Log in again."
    return ""


def needs_second_factor(request: HttpRequest, user: User) -> bool:
    """Return whether the user must have a second factor and has shown none in this session."""
    if settings.SANDBOX_SECOND_FACTOR == "optional" or request.session.get(methods.STRONG):
        return False
    # Who may change users may give themselves any role.
    if settings.SANDBOX_SECOND_FACTOR == "administrators" and not user.has_perm("auth.change_user"):
        return False
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    if not Authenticator.objects.filter(user=user, type__in=kinds).exists():
        return True
    # Set up in this session.
    request.session[methods.STRONG] = True
    return False


def _leads_to_one(request: HttpRequest) -> bool:
    return request.path_info.startswith((reverse("mfa_index"), reverse("admin:logout"), reverse("admin:jsi18n")))


def _note_seen(request: HttpRequest) -> None:
    # Not in the session itself: each save would make it last longer.
    key = request.session.session_key
    if methods.KIND in request.session and cache.add(f"{SEEN}.{key}", 1, SEEN_S):
        UserSession.objects.filter(session_key=key).update(last_seen_at=timezone.now())
