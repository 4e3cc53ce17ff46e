"""Codes of an authenticator app, and recovery codes: counted like wrong passwords, and accepted once."""

from typing import Any

from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.core import context
from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt
from axes.handlers.proxy import AxesProxyHandler
from django.contrib.auth.signals import user_login_failed
from django.db import transaction


@transaction.atomic
def use_once(factor: Authenticator, code: str) -> bool:
    """Return whether the code is right and newer than the one before. The row remembers, for all processes."""
    row = Authenticator.objects.select_for_update().get(pk=factor.pk)
    secret = decrypt(row.data["secret"])
    right = (
        counter
        for counter in yield_hotp_counters_from_time()
        if compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, counter)))
    )
    counter = next(right, None)
    if counter is None or counter <= row.data.get("last_counter", -1):
        return False
    row.data["last_counter"] = counter
    row.save(update_fields=["data"])
    return True


class _CountedCode:
    user: Any
    authenticator: Authenticator

    def clean_code(self) -> str:
        request = context.request
        if not AxesProxyHandler.is_allowed(request, {"username": self.user.get_username()}):
            request.axes_locked_out = True  # answered by axes' middleware
            raise get_account_adapter().validation_error("too_many_login_attempts")
        code: str = super().clean_code()  # type: ignore[misc]
        factor = self.authenticator
        if factor.type == Authenticator.Type.TOTP and not use_once(factor, code):
            self._emit_authentication_failed(factor)
            raise get_adapter().validation_error("incorrect_code")
        return code

    def _emit_authentication_failed(self, authenticator: Authenticator) -> None:
        # The way in which django-axes and console.devices hear of wrong passwords.
        user_login_failed.send(
            sender=__name__, credentials={"username": self.user.get_username()}, request=context.request
        )


class LoginCodeForm(_CountedCode, AuthenticateForm):  # type: ignore[misc]
    pass


class ConfirmationCodeForm(_CountedCode, ReauthenticateForm):  # type: ignore[misc]
    pass
