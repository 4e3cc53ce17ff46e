"""Attribute changes to their actor: pass the actor of a web request to Postgres, where triggers record it.

Changes from a shell, a command or SQL are attributed by the database session (see audit_stamp in
migrations/guards.sql): its role, its address and its application name, which the settings compose of the command and
its user.
"""

from collections.abc import Callable
from typing import Any

import pghistory
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse

from sandbox_platform.kit.actors import actor_of
from sandbox_platform.kit.callers import origin_of

# These requests change no watched table, and their latency matters.
UNWATCHED = ("/run", "/run/")
UNWATCHED_BELOW = "/api/v1/executions"
READING = ("GET", "HEAD", "OPTIONS")


class WatchedRequest(WSGIRequest):
    """Records the actor when Django REST framework sets `user`, which it does after authentication in the view."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "user":
            pghistory.context(actor=actor_of(value))
        super().__setattr__(name, value)


class AuditMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path
        if request.method in READING or path in UNWATCHED or path.startswith(UNWATCHED_BELOW):
            return self.get_response(request)
        with pghistory.context(**origin_of(request)):
            if type(request) is WSGIRequest:
                request.__class__ = WatchedRequest
            return self.get_response(request)
