"""A person's own factors, sessions and confirmations: django-allauth's views in the console's look."""

from typing import Any

from allauth.account.internal.stagekit import clear_login
from allauth.account.views import ReauthenticateView
from allauth.mfa.base.views import AuthenticateView, IndexView
from allauth.mfa.base.views import ReauthenticateView as CodeConfirmationView
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.views import (
    AddWebAuthnView,
    LoginWebAuthnView,
    ReauthenticateWebAuthnView,
    RemoveWebAuthnView,
)
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse, reverse_lazy
from django.views.decorators.http import require_POST

from console.sign_on import methods, sessions
from console.sign_on.middleware import needs_second_factor


class _ConsolePage:
    title = ""
    request: HttpRequest

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)  # type: ignore[misc]
        self.request.current_app = admin.site.name
        return {**admin.site.each_context(self.request), "title": self.title, **context}


class CodePage(_ConsolePage, AuthenticateView):  # type: ignore[misc]
    title = "Second factor"
    template_name = "console/sign_on/code.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        types = set(self.stage.login.user.authenticator_set.values_list("type", flat=True))
        return context | {"by_code": types & {"totp", "recovery_codes"}, "by_key": "webauthn" in types}


class PasskeyLogin(LoginWebAuthnView):  # type: ignore[misc]
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.SANDBOX_LOCAL_LOGIN:
            raise PermissionDenied
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response


def cancel(request: HttpRequest) -> HttpResponse:
    clear_login(request)
    return HttpResponseRedirect(reverse("admin:login"))


class SecurityPage(_ConsolePage, IndexView):  # type: ignore[misc]
    title = "Login and security"
    template_name = "console/sign_on/security.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        user: Any = self.request.user
        codes = context["authenticators"].get("recovery_codes")
        return context | {
            "method": methods.method_of(self.request, user),
            "has_password": user.has_usable_password(),
            "may_change_factors": user.has_usable_password() or bool(context["authenticators"]),
            "is_required": needs_second_factor(self.request, user),
            "codes_left": len(codes.get_unused_codes()) if codes else 0,
            "sessions": sessions.open_sessions().filter(user=user).order_by("-created_at"),
            "this_session": self.request.session.session_key,
        }


class _ConfirmationPage(_ConsolePage):
    title = "Confirm that it is you"
    template_name = "console/sign_on/confirm.html"


class PasswordConfirmation(_ConfirmationPage, ReauthenticateView):  # type: ignore[misc]
    pass


class CodeConfirmation(_ConfirmationPage, CodeConfirmationView):  # type: ignore[misc]
    pass


class KeyConfirmation(_ConfirmationPage, ReauthenticateWebAuthnView):  # type: ignore[misc]
    template_name = "console/sign_on/confirm_key.html"

    def form_invalid(self, form: Any) -> HttpResponse:
        messages.error(self.request, "The security key was not accepted.")
        return HttpResponseRedirect(self.request.get_full_path())


class AddAuthenticatorApp(_ConsolePage, ActivateTOTPView):  # type: ignore[misc]
    title = "Add an authenticator app"
    template_name = "console/sign_on/add_app.html"


class RemoveAuthenticatorApp(_ConsolePage, DeactivateTOTPView):  # type: ignore[misc]
    title = "Remove the authenticator app"
    template_name = "console/sign_on/remove.html"
    extra_context = {"consequence": "Codes of the app are no longer accepted."}


class AddKey(_ConsolePage, AddWebAuthnView):  # type: ignore[misc]
    title = "Add a passkey or security key"
    template_name = "console/sign_on/add_key.html"


class RemoveKey(_ConsolePage, RemoveWebAuthnView):  # type: ignore[misc]
    title = "Remove the key"
    template_name = "console/sign_on/remove.html"
    success_url = reverse_lazy("mfa_index")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        # The console's heading would link to the list of such objects, which it does not have.
        del context["object"]
        return context | {"consequence": f"“{self.object.wrap().name}” no longer logs you in."}


class NewRecoveryCodes(_ConsolePage, GenerateRecoveryCodesView):  # type: ignore[misc]
    title = "Make new recovery codes"
    template_name = "console/sign_on/new_codes.html"


class RecoveryCodesPage(_ConsolePage, ViewRecoveryCodesView):  # type: ignore[misc]
    title = "Recovery codes"
    template_name = "console/sign_on/codes.html"


@require_POST
def end_session(request: HttpRequest) -> HttpResponse:
    """End one of the person's own sessions, or all others."""
    mine = sessions.open_sessions().filter(user_id=request.user.pk)
    if request.POST.get("session") == "others":
        number = sessions.end(request, mine.exclude(session_key=request.session.session_key))
    else:
        pk = request.POST.get("session", "")
        number = sessions.end(request, [get_object_or_404(mine, pk=int(pk) if pk.isdecimal() else 0)])
    messages.success(request, f"{number} {'session' if number == 1 else 'sessions'} ended.")
    return HttpResponseRedirect(reverse("mfa_index"))
