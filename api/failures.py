"""What the service answers when a request fails here: on every address, in the caller's format, and with the reason.

A statement that takes longer than the web allows, or a Postgres that is away, is a 503 that says when to try again.
"""

import sys
from http import HTTPStatus

import psycopg.errors
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from api.mcp.schema import rpc_failure
from api.ragflow import results
from api.v1.problems import MEDIA_TYPE, body
from sandbox_platform.kit import formats

RETRY_AFTER_S = 5
CONSOLE = "/admin/"
RAGFLOW = "/run"
MCP = "/mcp"


def failed(request: HttpRequest) -> HttpResponse:
    """Answer for the exception that is being handled. Django calls this, and logs the exception."""
    status, code, detail, remedy = _explained(sys.exc_info()[1])
    retry_after_s = RETRY_AFTER_S if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    response: HttpResponse
    if request.path_info.startswith(CONSOLE):
        title = HTTPStatus(status).phrase
        context = {"title": title, "detail": detail, "remedy": remedy}
        response = render(request, "console/failed.html", context, status=status)
    elif request.path_info == RAGFLOW:
        response = JsonResponse(results.RefusedSerializer.dump(f"{detail} {remedy}"), status=status)
    elif request.path_info.rstrip("/") == MCP:
        response = JsonResponse(rpc_failure(f"{detail} {remedy}"), status=status)
    elif format := formats.at(request.path_info):
        status, said = format.render(formats.Refusal(status, f"{detail} {remedy}", retry_after_s=retry_after_s))
        response = JsonResponse(said, status=status, safe=False)
    else:
        problem = body(status, detail, code, remedy=remedy)
        response = JsonResponse(problem, status=status, content_type=MEDIA_TYPE)
    if retry_after_s:
        response["Retry-After"] = str(retry_after_s)
    return response


def _explained(error: BaseException | None) -> tuple[int, str, str, str]:
    if isinstance(error, OperationalError) and isinstance(error.__cause__, psycopg.errors.QueryCanceled):
        longest = settings.SANDBOX_WEB_STATEMENT_TIMEOUT_MS // 1000
        return (
            503,
            "too_slow",
            f"The database took longer than {longest} s for this request (SANDBOX_WEB_STATEMENT_TIMEOUT).",
            "Ask for less, such as a shorter period, or retry later.",
        )
    if isinstance(error, OperationalError | InterfaceError):
        return 503, "database_unavailable", "The database does not answer, or is busy.", "Retry later."
    return 500, "internal", "The service failed to answer.", "Its log has the reason."
