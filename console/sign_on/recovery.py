"""The page of a recovery link, which `manage.py recover` prints. Opening it changes nothing; its button logs in."""

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import record_authentication
from allauth.account.models import Login
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from console.sign_on import methods
from console.sign_on.openid import refused
from people.models import RecoveryLink


@csrf_protect
@require_http_methods(["GET", "POST"])
def page(request: HttpRequest, token: str) -> HttpResponse:
    if request.method == "GET":
        link = RecoveryLink.objects.usable(token).select_related("user").first()
        if link is None:
            return _gone(request)
        context = {**admin.site.each_context(request), "title": "Recovery", "person": link.user}
        response = render(request, "console/sign_on/recovery.html", context)
        add_never_cache_headers(response)
        return response
    with transaction.atomic():
        user = RecoveryLink.objects.use(token)
        if user is None or not (user.is_active and user.is_staff):
            return _gone(request)
        if request.user.is_authenticated:
            get_adapter().logout(request)
        record_authentication(request, user, methods.RECOVERY)
        # Without the stages of a login: the second factor may be what was lost.
        get_adapter().login(request, user)
        get_adapter().post_login(request, user, **_nothing(user))
    messages.warning(
        request, "You are logged in by a recovery link, for an hour. Set a password and a second factor now."
    )
    return HttpResponseRedirect(reverse("mfa_index"))


def _nothing(user: object) -> dict[str, object]:
    login = Login(user=user)
    return {
        "email_verification": login.email_verification,
        "signal_kwargs": None,
        "email": None,
        "signup": False,
        "redirect_url": None,
    }


def _gone(request: HttpRequest) -> HttpResponse:
    remedy = "Have another one made: manage.py recover NAME, in the service web."
    return refused(request, 404, "Link not valid", "This recovery link is unknown, used, or too old.", remedy)
