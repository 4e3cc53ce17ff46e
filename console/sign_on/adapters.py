"""What django-allauth asks of the platform: who may log in, what is recorded, and how secrets are kept."""

import base64
import time
from secrets import token_bytes
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.stagekit import clear_login
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.usersessions.models import UserSession
from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import salted_hmac

from console.sign_on import methods
from sandbox_platform.kit import acts, callers
from sandbox_platform.kit.acts import Kind

BACKEND = "django.contrib.auth.backends.ModelBackend"
RECOVERY_SESSION_S = 3600
# Which says nothing that the next page does not say.
QUIET = ("account/messages/logged_in.txt", "account/messages/logged_out.txt")


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return callers.remote_address(request) or "0.0.0.0"  # noqa: S104 -- no address is known

    def add_message(
        self, request: HttpRequest, level: int, message_template: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        if message_template not in QUIET:
            super().add_message(request, level, message_template, *args, **kwargs)

    def send_mail(self, template_prefix: str, email: str, context: Any) -> None:
        """Send none: the trail has what changed."""

    def send_notification_mail(self, *args: Any, **kwargs: Any) -> None:
        """Send none: the trail has what changed."""

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        if user.is_active and user.is_staff:
            return None
        clear_login(request)
        messages.error(request, f"{user} may not log in here: the account is switched off, or not of the staff.")
        return HttpResponseRedirect(reverse("admin:login"))

    def login(self, request: HttpRequest, user: User) -> None:
        name = f"user {user.get_username()}"
        with transaction.atomic():
            # Before: Django empties the session of another user.
            method = methods.method_of(request, user)
            login(request, user, BACKEND)
            methods.keep(request, user, method)
            request.login_method = method  # type: ignore[attr-defined]
            acts.done(Kind.LOGGED_IN, name, user.pk, http=request, after={"method": str(method)})
        methods.note(request, user)
        lasts = {methods.OPENID: settings.SANDBOX_OIDC_SESSION_S, methods.RECOVERY: RECOVERY_SESSION_S}
        bound = lasts.get(request.session[methods.KIND], settings.SESSION_COOKIE_AGE)
        request.session[methods.UNTIL] = time.time() + bound

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        UserSession.objects.filter(session_key=request.session.session_key).update(
            data={"method": str(request.login_method)}  # type: ignore[attr-defined]
        )
        return response


def _key() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(salted_hmac("console.sign_on", "factors", algorithm="sha256").digest()))


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def get_totp_label(self, user: User) -> str:
        return user.get_username()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        entity: dict[str, str] = super().get_public_key_credential_rp_entity()
        return entity | {"name": settings.MFA_TOTP_ISSUER}

    def encrypt(self, text: str) -> str:
        """Return the text under a key of the web's: neither another service nor a dump of the database has it."""
        return _key().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return _key().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            # DJANGO_SECRET_KEY has changed since. No code is right then.
            return base64.b32encode(token_bytes(20)).decode()
