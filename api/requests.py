"""Around each request: its id, a line in the log, a span and a count, whatever answers it.

The line and the span name the address by its pattern and the client by its id: nothing that the caller wrote.
"""

import logging
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from api.hosts import PROBES
from clients.models import Client
from metrics import requests
from sandbox_platform.kit import request_ids, tracing

logger = logging.getLogger(__name__)
# Asked every few seconds by machines.
UNTOLD = {*PROBES, "/", "/metrics"}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestMiddleware:
    """First of all, so that refusals of the other parts have an id, too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = request_ids.taken_or_new(request.headers.get(request_ids.HEADER))
        with request_ids.serving(request_id):
            response = self._answer(request) if request.path_info not in UNTOLD else self.get_response(request)
        response[request_ids.HEADER] = request_id
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        began = time.monotonic()
        method = request.method if request.method in METHODS else "other"
        parent = request.headers.get(tracing.TRACEPARENT)
        with tracing.span("request", parent=parent, kind="server") as span:
            response = self.get_response(request)
            took_s = time.monotonic() - began
            route = request.resolver_match.route if request.resolver_match else ""
            if span:
                span.update_name(f"{method} /{route}")
                span.set_attributes(
                    {
                        "http.request.method": str(method),
                        "http.route": f"/{route}",
                        "http.response.status_code": response.status_code,
                        "sandbox.request_id": request_ids.current(),
                    }
                )
            # Django's own `user` is lazy: only its type may be asked for.
            caller = vars(request).get("user")
            client_id = caller.pk if type(caller) is Client else None
            logger.info(
                "%s /%s %s",
                method,
                route,
                response.status_code,
                extra={"client_id": client_id, "duration_ms": round(took_s * 1000, 1)},
            )
        requests.count(request.path_info, response.status_code, took_s)
        return response
