"""The way to the OpenID provider and back."""

import logging

import pghistory
from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from django.conf import settings
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_safe

from console.sign_on import methods, sessions
from people import provider, signing_on
from people.provider import Claims, ProviderError
from people.signing_on import NoAccess
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.callers import origin_of

logger = logging.getLogger(__name__)
NEXT = "sign_on_next"
AGAIN = "Log in again. If that does not help, an administrator finds the reason in the log of the service web."


@require_safe
def start(request: HttpRequest) -> HttpResponse:
    if not provider.is_configured():
        raise Http404
    wanted = request.GET.get("next", "")
    allowed = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    request.session[NEXT] = wanted if allowed else ""
    callback = request.build_absolute_uri(reverse("sign_on_callback"))
    try:
        response = provider.redirect(request, callback)
    except ProviderError as e:
        return refused(request, 502, "Provider not available", str(e), AGAIN)
    add_never_cache_headers(response)
    return response


@require_safe
def callback(request: HttpRequest) -> HttpResponse:
    if not provider.is_configured():
        raise Http404
    if request.user.is_authenticated:
        # The page was loaded again, or opened in a second tab.
        return HttpResponseRedirect(reverse("admin:index"))
    wanted = request.session.pop(NEXT, "")
    try:
        claims = provider.claims_of(request)
    except ProviderError as e:
        return refused(request, 403, "Login failed", str(e), AGAIN)
    # A GET that changes rows: the trail names the provider, who asked for the change, and the person's address.
    origin = origin_of(request) | {"actor": f"OpenID provider {claims.issuer}"}
    try:
        with pghistory.context(**origin):
            user = signing_on.user_of(claims)
    except NoAccess as e:
        _record(request, claims, e)
        return refused(request, 403, "No access", e.why, e.remedy)
    if settings.SANDBOX_OIDC_LOGOUT:
        request.session[methods.HINT] = claims.id_token
    record_authentication(request, user, methods.OPENID, issuer=claims.issuer)
    response: HttpResponse = perform_login(request, Login(user=user, redirect_url=wanted or None))
    return response


def _record(request: HttpRequest, claims: Claims, refusal: NoAccess) -> None:
    name = f"user {refusal.user}" if refusal.user else f"{claims.username or claims.subject} of {claims.issuer}"
    acts.done(
        Kind.REFUSED_LOGIN,
        name,
        refusal.user.pk if refusal.user else "",
        http=request,
        after={"reason": refusal.why, "issuer": claims.issuer, "subject": claims.subject},
    )
    if refusal.user:
        sessions.end_all_of(request, refusal.user)


def refused(request: HttpRequest, status: int, title: str, detail: str, remedy: str) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, "detail": detail, "remedy": remedy}
    response = render(request, "console/error_out.html", context, status=status)
    add_never_cache_headers(response)
    return response
