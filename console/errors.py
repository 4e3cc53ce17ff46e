"""Pages for what the console refuses or does not have: 400, 403, 404, an outdated form, and the lock-out."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse
from django.views.csrf import csrf_failure

PREFIX = "/admin/"
LOCKED_MINUTES = 15
LOOK = "executions.view_execution"


def is_console(request: HttpRequest) -> bool:
    return request.path_info.startswith(PREFIX)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    detail = f"There is no page {request.path_info} here, or what it was about is gone."
    return _page(request, 404, "Not found", detail, "Check the address, or start from the menu.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    roles = ", ".join(request.user.groups.values_list("name", flat=True)) if request.user.is_authenticated else ""
    detail = f"Your role does not permit this ({roles})." if roles else "You have no role that permits this."
    return _page(request, 403, "Not permitted", detail, "An administrator can give you another role.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    detail = "The request is malformed, or has more fields than a form of the console."
    return _page(request, 400, "Bad request", detail, "Go back, and send the form again.")


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer to a form without a valid token. Django's setting CSRF_FAILURE_VIEW names this function."""
    if not is_console(request):
        return csrf_failure(request, reason=reason)
    detail = f"The form was not accepted: {reason.rstrip('.') or 'its token is not valid'}."
    remedy = (
        "Load the page again and repeat. Cookies must be allowed; behind a proxy that changes the host name, "
        "DJANGO_CSRF_TRUSTED_ORIGINS must name its origin."
    )
    return _page(request, 403, "Form not accepted", detail, remedy)


def locked_out(request: HttpRequest, response: Any, credentials: Any) -> HttpResponse:
    """Answer to a login that is locked. django-axes' setting AXES_LOCKOUT_CALLABLE names this function."""
    context = {**admin.site.each_context(request), "title": "Login is locked", "minutes": LOCKED_MINUTES}
    return render(request, "console/locked_out.html", context, status=429)


def _page(request: HttpRequest, status: int, title: str, detail: str, remedy: str) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": title,
        "detail": detail,
        "remedy": remedy,
        "above": _above(request) if status == 404 else None,
        "may_look": request.user.has_perm(LOOK),
    }
    template = "console/error.html" if request.user.is_authenticated else "console/error_out.html"
    return render(request, template, context, status=status)


def _above(request: HttpRequest) -> str | None:
    """Return the address of the list that an address below /admin/app/model/ belongs to."""
    parts = request.path_info.removeprefix(PREFIX).split("/")
    address = f"{PREFIX}{'/'.join(parts[:2])}/"
    if len(parts) < 3 or address == request.path_info:
        return None
    try:
        name = resolve(address).url_name or ""
    except Resolver404:
        return None
    return reverse(f"admin:{name}") if name.endswith("_changelist") else None
