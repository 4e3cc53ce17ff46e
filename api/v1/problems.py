"""Errors of /api/v1: application/problem+json (RFC 9457) with the invalid field and the remedy."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import psycopg.errors
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions, serializers
from rest_framework.response import Response
from rest_framework.views import set_rollback

from api import refusals
from clients.admission import NeverFits, OverLimit, RuntimeNotAllowed, StorageFull
from executions.limits import LimitTooHigh
from sandbox_platform.kit import errors
from sandbox_platform.kit.schemas import Schema

# Raised when a concurrent transaction changed rows between this request's check and its write.
CONCURRENT_CHANGE = (psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation)
MEDIA_TYPE = "application/problem+json"
TYPE = "urn:sandbox-platform:problem:"
UNPROCESSABLE = 422
REMEDIES = {
    "required": "Send this field.",
    "null": "Leave the field out instead of sending null.",
    "unknown": "Leave the field out or correct its name; /docs lists the fields.",
    "null_characters_not_allowed": "Send binary data as a file with content_base64.",
    "surrogate_characters_not_allowed": "Send well-formed Unicode, or a file with content_base64.",
}
SEE_DOCS = "Correct the value; /docs has its type and bounds."


class Problem(exceptions.APIException):
    """An error response: what is wrong, the field, and the remedy. `wait`: Retry-After in seconds."""

    status_code = UNPROCESSABLE
    default_code = "invalid"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        remedy: str | None = None,
        code: str = "",
        wait: int | None = None,
    ) -> None:
        super().__init__(detail, code or self.default_code)
        self.text, self.field, self.remedy, self.wait = detail, field, remedy, wait
        self.code = code or self.default_code


class Invalid(Problem):
    """422: one field is invalid."""

    def __init__(self, field: str, detail: str, remedy: str = SEE_DOCS) -> None:
        super().__init__(detail, field=field, remedy=remedy)


class Conflict(Problem):
    status_code = 409
    default_code = "conflict"


class Malformed(Problem):
    status_code = 400
    default_code = "malformed"


class Forbidden(Problem):
    status_code = 403
    default_code = "forbidden"


class TooMany(Problem):
    status_code = 429
    default_code = "over_limit"


class TooLarge(Problem):
    status_code = 413
    default_code = "too_large"


class Unavailable(Problem):
    status_code = 503
    default_code = "unavailable"


class ProblemSchema(Schema):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    field = serializers.CharField(allow_null=True, help_text="The invalid field, parameter or header.")
    remedy = serializers.CharField(allow_null=True, help_text="How to correct the request.")


def body(status: int, detail: str, code: str, *, field: str | None = None, remedy: str | None = None) -> Any:
    title = HTTPStatus(status).phrase
    return ProblemSchema.dump(
        type=TYPE + code, title=title, status=status, detail=detail, field=field, remedy=remedy
    )


def handler(error: Exception, context: Any) -> Response | None:
    """Handle exceptions of /api/v1 for Django REST framework.

    Returns None for an unexpected exception, which then becomes a 500.
    """
    refusals.note(error, context["request"], getattr(context["view"], "runtime", None))
    described = describe(error)
    if described is None:
        return None
    set_rollback()
    status, problem, headers = described
    return Response(problem, status=status, headers=headers, content_type=MEDIA_TYPE)


def describe(error: Exception) -> tuple[int, Any, dict[str, str]] | None:
    """Return status, problem document and headers of the answer; None for an unexpected exception."""
    error = _translated(error)
    if not isinstance(error, exceptions.APIException):
        return None
    headers: dict[str, str] = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    problem = _body_of(error)  # which may set the status
    return error.status_code, problem, headers


def _translated(error: Exception) -> Exception:
    match error:
        case Http404():
            return exceptions.NotFound("Not found, or it belongs to another client.")
        case PermissionDenied():
            return exceptions.PermissionDenied()
        case RequestDataTooBig() | TooManyFieldsSent() | TooManyFilesSent():
            return TooLarge(str(error), remedy="Send a smaller request.")
        case errors.InvalidField():
            return Invalid(error.field or "", error.detail, error.remedy or SEE_DOCS)
        case errors.Refused():
            return _problem_of(error)
        case RuntimeNotAllowed():
            return Forbidden(str(error), field="runtime", remedy="Use another runtime, or ask an administrator.")
        case LimitTooHigh():
            return Invalid(f"limits.{error.field}", str(error), f"{error.remedy}.")
        case NeverFits():
            return Invalid("executions", str(error), "Send smaller batches.")
        case StorageFull():
            return TooMany(error.detail, wait=error.retry_after_s, remedy=error.remedy, code="storage_full")
        case OverLimit():
            return TooMany(str(error), wait=error.retry_after_s, remedy="Retry after Retry-After seconds.")
        case IntegrityError() if isinstance(error.__cause__, CONCURRENT_CHANGE):
            return Conflict(
                "Another request changed the same object at the same time.", remedy="Read the object and retry."
            )
        case SuspiciousOperation():
            return Malformed("The request is malformed.")
    return error


def _problem_of(refused: errors.Refused) -> Problem:
    match refused:
        case errors.TooMany():
            kind: type[Problem] = TooMany
        case errors.NotAvailable():
            kind = Unavailable
        case _:
            kind = Conflict
    return kind(
        refused.detail,
        field=refused.field,
        remedy=refused.remedy,
        code=refused.code,
        wait=refused.retry_after_s,
    )


def _body_of(error: exceptions.APIException) -> Any:
    if isinstance(error, Problem):
        return body(error.status_code, error.text, error.code, field=error.field, remedy=error.remedy)
    if isinstance(error, exceptions.ValidationError):
        error.status_code = UNPROCESSABLE
        field, detail = next(_flattened("", error.detail))
        return body(UNPROCESSABLE, str(detail), "invalid", field=field or None, remedy=_remedy(detail.code))
    codes = error.get_codes()
    code = codes if isinstance(codes, str) else error.default_code
    return body(error.status_code, str(error.detail), code)


def _remedy(code: str | None) -> str:
    return REMEDIES.get(code or "", SEE_DOCS)


def _flattened(path: str, detail: Any) -> Iterator[tuple[str, exceptions.ErrorDetail]]:
    """Yield each error with the path of its field, such as `executions[3].limits.wall_time_ms`."""
    if isinstance(detail, exceptions.ErrorDetail):
        yield path, detail
    elif isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _flattened(_joined(path, name), inner)
    elif all(isinstance(inner, exceptions.ErrorDetail) for inner in detail):
        yield path, detail[0]
    else:
        for index, inner in enumerate(detail):
            yield from _flattened(f"{path}[{index}]", inner)


def _joined(path: str, name: Any) -> str:
    if name == "non_field_errors":
        return path
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else str(name)


@csrf_exempt
def not_found(request: HttpRequest) -> HttpResponse:
    problem = body(404, f"There is no {request.path_info} in this API.", "not_found", remedy="See /docs.")
    return JsonResponse(problem, status=404, content_type=MEDIA_TYPE)
