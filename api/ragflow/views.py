"""RAGFlow's endpoints: POST /run, GET / and /healthz; also /readyz, which checks the dependencies."""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api import refusals
from api.ragflow import contract, results, schema
from clients.admission import OverLimit, RuntimeNotAllowed
from clients.models import Client
from clients.permissions import MayRun
from executions import places, readiness, services, waiting
from executions.bounds import OverBound
from executions.models import Artifact, Execution
from executions.places import TooManyLargePages, TooManyWaiting
from executions.representation import timing_headers
from executions.submission import finished, forget_columns
from runtimes.models import Runtime
from sandbox_platform.kit.callers import remote_address
from sandbox_platform.kit.compiled import Compiled
from sandbox_platform.kit.errors import TooMany
from sandbox_platform.kit.json_size import TooManyValues
from sandbox_platform.kit.units import exact
from sandbox_platform.kit.web import waits

ENDPOINT = "ragflow"
RUNTIME = Compiled(lambda slug: Runtime.objects.lean().filter(slug=slug), slug="-")


class Renderer(JSONRenderer):
    """Render JSON in UTF-8. An answer with a lone surrogate, which a program may return, is sent in ASCII escapes."""

    def render(self, *args: Any, **kwargs: Any) -> bytes:
        try:
            return bytes(super().render(*args, **kwargs))
        except UnicodeEncodeError:
            self.ensure_ascii = True  # type: ignore[misc]
            return bytes(super().render(*args, **kwargs))


class RunView(APIView):
    """Run `main(**arguments)` of a program in a fresh sandbox and answer with its result.

    200: the execution has ended, with any outcome. 401: the token is wrong. 403: the client has no permission.
    413: the request is too large. 422: the request is malformed. 429: the client's quota is used up, or too many
    requests wait. 503: no client is configured, or the runtime is not installed.
    """

    permission_classes = [MayRun]
    renderer_classes = [Renderer]
    parser_classes: list[Any] = []  # the view reads the raw body: DRF's errors differ from RAGFlow's

    @extend_schema(
        request={"application/json": schema.RunRequestSerializer},
        responses={
            200: results.RunResultSerializer,
            401: OpenApiResponse(results.RefusedSerializer),
            403: OpenApiResponse(results.RefusedSerializer),
            413: OpenApiResponse(results.RefusedSerializer),
            422: OpenApiResponse(results.MalformedSerializer),
            429: OpenApiResponse(schema.REFUSED_FOR_NOW),
            503: OpenApiResponse(results.RefusedSerializer),
        },
        tags=["RAGFlow"],
    )
    def post(self, request: Request) -> Response:
        http: HttpRequest = request._request
        try:
            run = contract.parse_request(http.body, http.headers.get("Content-Type", ""))
        except contract.Malformed as e:
            return Response(results.MalformedSerializer.dump(e), status=422)
        except RequestDataTooBig:
            limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            text = f"The request is larger than {exact(limit, 'bytes')} (SANDBOX_MAX_REQUEST)."
            return Response(results.RefusedSerializer.dump(text), status=413)
        except (OverBound, TooManyValues) as e:
            return Response(results.RefusedSerializer.dump(e), status=413)
        runtime = next(iter(RUNTIME(slug=run.language)), None)
        if runtime is None:
            detail = f"The runtime {run.language} is not installed: run `manage.py bootstrap`."
            return Response(results.RefusedSerializer.dump(detail), status=503)
        caller: object = request.user
        wanted = services.Request(
            runtime=runtime,
            code=run.code,
            arguments=run.arguments,
            endpoint=ENDPOINT,
            artifact_suffixes=list(results.MIME_TYPES),
            announce_start=False,
            client=caller if isinstance(caller, Client) else None,
            remote_address=remote_address(http),
            labels=contract.labels_of(http.headers.get("User-Agent", "")),
        )
        client_id = wanted.client.pk if wanted.client else None
        with (
            places.waits.held(client_id) as free,
            waiting.hub.waiter(wanted.execution_id, results.COLUMNS) as waiter,
        ):
            try:
                if not free:
                    raise TooManyWaiting
                execution = services.submit(wanted, policy=runtime.ragflow_code_policy)
            except RuntimeNotAllowed as e:
                refusals.note(e, request, runtime)
                return Response(results.RefusedSerializer.dump(e), status=403)
            except OverLimit as e:
                refusals.note(e, request, runtime)
                return Response(
                    results.OverLimitSerializer.dump(e), status=429, headers={"Retry-After": str(e.retry_after_s)}
                )
            except TooMany as e:
                refusals.note(e, request, runtime)
                return Response(
                    results.BusySerializer.dump(e), status=429, headers={"Retry-After": str(e.retry_after_s)}
                )
            if not execution.is_finished:
                del execution, wanted, run  # they may be large, and the wait long
                http.__dict__.pop("_body", None)
                waits.begun()
                execution = finished(waiter, http)
            try:
                place = place_for(execution, client_id, http)
            except TooManyLargePages as e:
                refusals.note(e, request, runtime)
                return Response(
                    results.BusySerializer.dump(e), status=429, headers={"Retry-After": str(e.retry_after_s)}
                )
        return answered(execution, place)

    def handle_exception(self, exc: Exception) -> Response:
        refusals.note(exc, self.request)
        return super().handle_exception(exc)


def place_for(execution: Execution, client_id: int | None, http: HttpRequest) -> places.PageOf:
    """Return the place of the ended execution's answer. A large answer waits for it. Raises TooManyLargePages."""
    place = places.PageOf(client_id)
    if _has_artifacts(execution):
        size = execution.artifacts.aggregate(size=Sum("size"))["size"] or 0
        if size >= places.LARGE_PAGE_BYTES:
            forget_columns(execution)  # the wait may be long
        place.reading(size, waiting.gives_up(http))
    return place


def _has_artifacts(execution: Execution) -> bool:
    return execution.exit_code == 0 and execution.artifact_count > 0


def answered(execution: Execution, place: places.PageOf) -> Response:
    """Answer for the ended execution, with its artifacts."""
    artifacts: list[Artifact] = list(execution.artifacts.all()) if _has_artifacts(execution) else []
    response = Response(results.render(execution, artifacts), headers=timing_headers(execution))
    place.keep_until_closed(response)
    return response


@csrf_exempt
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer that the process is alive, without Docker or Postgres: RAGFlow's clients ask before every run."""
    if request.method != "GET":
        return JsonResponse({"detail": "Method Not Allowed"}, status=405, headers={"Allow": "GET"})
    return JsonResponse({"status": "ok"})


@csrf_exempt
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 if an execution can run now, else 503, with the list of problems.

    A problem that concerns only callbacks is listed, too, but the status stays 200.
    """
    state, problems = readiness.state()
    status = 503 if state == readiness.State.NOT_READY else 200
    return JsonResponse({"status": state, "problems": problems}, status=status)


@csrf_exempt
def run_with_slash(request: HttpRequest) -> HttpResponse:
    # Clients repeat the method and the body on a 307.
    return HttpResponse(status=307, headers={"Location": "/run"})


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return JsonResponse({"detail": "Not Found"}, status=404)
