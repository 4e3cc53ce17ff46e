"""The addresses of sign-on, below /admin/. Pages of django-allauth that are not named here have none.

The names that begin with `account_` and `mfa_` are django-allauth's, which looks them up.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from console.sign_on import openid, recovery, views


def _own(view: Callable[..., Any]) -> Any:
    """For whoever is logged in."""
    return admin.site.admin_view(view)


urlpatterns = [
    path("login/", admin.site.login, name="account_login"),
    path("login/code/", views.CodePage.as_view(), name="mfa_authenticate"),
    path("login/cancel/", views.cancel, name="sign_on_cancel"),
    path("login/passkey/", views.PasskeyLogin.as_view(), name="mfa_login_webauthn"),
    path("login/openid/", openid.start, name="sign_on_start"),
    path("login/openid/callback/", openid.callback, name="sign_on_callback"),
    path("login/recovery/<str:token>/", recovery.page, name="sign_on_recovery"),
    path("account/", _own(views.SecurityPage.as_view()), name="mfa_index"),
    path("account/keys/", _own(RedirectView.as_view(pattern_name="mfa_index")), name="mfa_list_webauthn"),
    path("account/confirm/", _own(views.PasswordConfirmation.as_view()), name="account_reauthenticate"),
    path("account/confirm/code/", _own(views.CodeConfirmation.as_view()), name="mfa_reauthenticate"),
    path("account/confirm/key/", _own(views.KeyConfirmation.as_view()), name="mfa_reauthenticate_webauthn"),
    path("account/app/add/", _own(views.AddAuthenticatorApp.as_view()), name="mfa_activate_totp"),
    path("account/app/remove/", _own(views.RemoveAuthenticatorApp.as_view()), name="mfa_deactivate_totp"),
    path("account/keys/add/", _own(views.AddKey.as_view()), name="mfa_add_webauthn"),
    path("account/keys/<int:pk>/remove/", _own(views.RemoveKey.as_view()), name="mfa_remove_webauthn"),
    path("account/codes/", _own(views.RecoveryCodesPage.as_view()), name="mfa_view_recovery_codes"),
    path("account/codes/new/", _own(views.NewRecoveryCodes.as_view()), name="mfa_generate_recovery_codes"),
    path("account/sessions/end/", _own(views.end_session), name="sign_on_end_session"),
]
