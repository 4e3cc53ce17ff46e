"""The login page: password, passkey, or the provider. A login with a password goes on with the second factor."""

from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import add_never_cache_headers

from people import provider


class _PasswordView(LoginView):
    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        login = Login(user=form.get_user(), redirect_url=self.get_success_url())
        credentials = {"username": form.get_user().get_username()}
        response: HttpResponse = perform_password_login(self.request, credentials, login)
        return response


def page(site: Any, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
    """Answer in place of AdminSite.login."""
    if request.method == "GET" and site.has_permission(request):
        return HttpResponseRedirect(reverse("admin:index"))
    if request.method == "POST" and not settings.SANDBOX_LOCAL_LOGIN:
        raise PermissionDenied
    wanted = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME)
    context = {
        **site.each_context(request),
        "title": "Log in",
        "subtitle": None,
        "app_path": request.get_full_path(),
        "username": request.user.get_username(),
        REDIRECT_FIELD_NAME: wanted or reverse("admin:index"),
        "local_login": settings.SANDBOX_LOCAL_LOGIN,
        "provider": settings.SANDBOX_OIDC_NAME if provider.is_configured() else "",
        **(extra_context or {}),
    }
    request.current_app = site.name
    view = _PasswordView.as_view(
        extra_context=context, authentication_form=site.login_form, template_name="console/sign_on/login.html"
    )
    answer = view(request)
    add_never_cache_headers(answer)
    return answer
