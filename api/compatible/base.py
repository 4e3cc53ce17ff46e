"""Base of the wire formats: who calls, what the body holds, and how a refusal is said in the format."""

from typing import Any, ClassVar

from django.http import JsonResponse
from rest_framework.exceptions import MethodNotAllowed, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback

from api import refusals
from api.v1 import problems
from api.v1.base import ApiView
from api.v1.schema import TokenScheme
from clients.auth import TokenAuthentication, foreign_origin, token_of
from clients.models import Client
from clients.permissions import MayRun
from sandbox_platform.kit.formats import Format, Refusal


class PlatformFault(problems.Problem):
    """The platform failed, not the program."""

    status_code = 500
    default_code = "platform_error"


class FormatAuthentication(TokenAuthentication):
    """Also takes a client's token from the header in which the format's clients send their key."""

    def token_of(self, request: Request) -> str:
        view: Any = (request.parser_context or {})["view"]
        for header in view.format.token_headers:
            if text := request.headers.get(header, "").strip():
                return str(text)
        return token_of(request)


class FormatTokenScheme(TokenScheme):  # type: ignore[no-untyped-call]
    target_class = "api.compatible.base.FormatAuthentication"
    name = "token_of_format"

    def get_security_definition(self, auto_schema: Any) -> Any:
        more = " Formats take it also in the headers of their own clients: see docs/doors.md."
        definition = super().get_security_definition(auto_schema)
        return definition | {"description": definition["description"] + more}


class MayUseFormat(MayRun):
    def has_permission(self, request: Request, view: APIView) -> bool:
        # The token may be in the address, as a password, which a browser would send from any page.
        if origin := foreign_origin(request):
            raise PermissionDenied(f"Requests are not taken from pages of {origin}.")
        caller: object = request.user
        its: Format = view.format  # type: ignore[attr-defined]
        if not isinstance(caller, Client):
            raise PermissionDenied(f"The format {its.title} is only for clients with a token. Send one.")
        if not caller.may_speak(its.name):
            raise PermissionDenied(
                f"The format {its.title} is off for the client {caller}. An administrator can switch it on: admin, "
                "Clients."
            )
        return super().has_permission(request, view)


class FormatView(ApiView):
    """A view of one format. It takes a JSON body unless it names other parsers."""

    format: ClassVar[Format]
    # Names of our fields in the format, for refusals that name one.
    theirs: ClassVar[dict[str, str]] = {}
    authentication_classes = [FormatAuthentication]
    permission_classes = [MayUseFormat]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # The token first: whoever counts a refusal asks for it. Then the method, because a format may say with the
        # status 200 that the caller must not.
        self.perform_authentication(request)
        if request.method not in self.allowed_methods:
            raise MethodNotAllowed(str(request.method))
        super().initial(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return failed

    def rendered(self, described: tuple[int, Any, dict[str, str]]) -> tuple[int, Any]:
        """Return status and body of a refusal that problems.describe has described."""
        _, problem, headers = described
        retry_after = headers.get("Retry-After")
        refusal = Refusal(
            status=problem["status"],
            text=_text(problem, self.theirs),
            field=_named(problem["field"] or "", self.theirs),
            retry_after_s=int(retry_after) if retry_after else None,
        )
        return self.format.render(refusal)

    @property
    def body(self) -> dict[str, Any]:
        """Return the request's JSON object. Raises problems.Invalid for another value."""
        data = self.request.data
        if not isinstance(data, dict):
            raise problems.Invalid("", "The body must be a JSON object.", "Send one.")
        return data


def failed(error: Exception, context: Any) -> Response | None:
    """Answer for a refusal in the view's format. Returns None for an unexpected exception: a 500."""
    view = context["view"]
    refusals.note(error, context["request"], view.runtime)
    described = problems.describe(error)
    if described is None:
        return None
    set_rollback()
    status, body = view.rendered(described)
    return Response(body, status=status, headers=described[2])


def _named(field: str, theirs: dict[str, str]) -> str:
    """Return the field's name in the format, by the longest name in `theirs` that it begins with."""
    for ours in sorted(theirs, key=len, reverse=True):
        if field == ours or field.startswith((f"{ours}.", f"{ours}[")):
            return theirs[ours] + field[len(ours) :]
    return field


def _text(problem: Any, theirs: dict[str, str]) -> str:
    field = problem["field"] or ""
    detail = problem["detail"]
    ours = field.rpartition(".")[2]
    if field.startswith("limits.") and field in theirs and detail.startswith(f"{ours} "):
        # Such as "wall_time_ms is above …": a name that callers of the format do not know.
        detail = theirs[field] + detail.removeprefix(ours)
    # Remedies speak of the fields of /api/v1 where there is one.
    remedy = "" if field else problem["remedy"]
    return f"{detail} {remedy or ''}".strip()


def not_found(format: Format) -> JsonResponse:
    """Answer 404 for an unknown address below one of the format's."""
    status, body = format.render(Refusal(404, f"{format.title} has no such address here. See docs/doors.md."))
    return JsonResponse(body, status=status, safe=False)
