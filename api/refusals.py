"""Counts what the API refuses, whatever the format of the answer."""

from rest_framework import exceptions
from rest_framework.request import Request

from clients.auth import TokenRefused
from executions import people
from executions.places import client_id_of
from runtimes.models import Runtime
from usage import refusals
from usage.refusals import Kind


def note(error: Exception, request: Request, runtime: Runtime | None = None) -> None:
    """Count the error if it is a refusal. `runtime`: which one the request asked for, if that is known."""
    kind, client_id = refusals.kind_of(error), client_id_of(request)
    match error:
        case TokenRefused():
            kind, client_id = Kind.TOKEN, error.client_id
        case exceptions.AuthenticationFailed():
            kind, client_id = Kind.TOKEN, None
        case exceptions.PermissionDenied() if client_id is not None:
            kind = Kind.ROLE
        case people.NotNow() if kind:
            client_id = people.client().pk
    if kind:
        refusals.count(kind, client_id, runtime.pk if runtime else None)
