"""Refuse requests to a host name that is not this installation's, with the remedy.

A page of another site can have its own name point to this address (DNS rebinding). To a browser, this service would
then be the same site as the page. Such a request names the page's host. Load balancers and orchestrators, which probe
by address or name nothing, are answered on the two addresses for them.
"""

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import split_domain_port

from api.ragflow.views import healthz, readyz
from api.v1.problems import MEDIA_TYPE, body

PROBES = {"/healthz": healthz, "/readyz": readyz}
REMEDY = "Add the name or address to DJANGO_ALLOWED_HOSTS in .env, then run make restart."


class HostMiddleware:
    """First of all, so that no other part answers with a text of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            request.get_host()
        except DisallowedHost:
            # Past the other parts, which ask for the host again.
            probe = PROBES.get(request.path_info) if names_no_host(request) else None
            return probe(request) if probe else refused(request)
        return self.get_response(request)


def names_no_host(request: HttpRequest) -> bool:
    """Return whether the caller named an address or nothing. Browsers send the name that they resolved."""
    host = request.META.get("HTTP_HOST", "")
    if not host:
        return True
    try:
        ipaddress.ip_address(split_domain_port(host)[0].strip("[]"))
    except ValueError:
        return False
    return True


def refused(request: HttpRequest) -> HttpResponse:
    named = request.META.get("HTTP_HOST", "")[:255]
    detail = (
        f"This installation does not answer to the host {named!r}, only to {', '.join(settings.ALLOWED_HOSTS)}."
    )
    problem = body(400, detail, "unknown_host", field="Host", remedy=REMEDY)
    return JsonResponse(problem, status=400, content_type=MEDIA_TYPE)
