"""Judge0: /submissions, /submissions/batch, /languages, /statuses, /config_info and /about.

Source: judge0/judge0, app/controllers and app/serializers, and the official Python client, judge0/judge0-python.
docs/doors.md lists what differs.
"""

import logging
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from api import refusals
from api.compatible.base import FormatView, PlatformFault
from api.compatible.judge0 import answers, schema
from api.compatible.judge0.answers import STATUSES, columns_of, fields_of, submission
from api.compatible.judge0.languages import languages, runtime_with
from api.compatible.judge0.parsing import form_of, language_id
from api.compatible.running import refuse_unless_run, run_to_end, wanted
from api.v1 import problems
from executions import places, services
from executions.models import Execution
from executions.models.execution import LARGE
from executions.representation import timing_headers
from executions.sizes import groups
from redaction import services as redaction
from runtimes.models import Runtime
from sandbox_platform.kit import formats
from sandbox_platform.kit.failures import without_text

logger = logging.getLogger(__name__)
LARGEST_BATCH = 20
# The official clients choose their ids of languages by this release. Texts are plain unless a request says otherwise,
# as in earlier releases; the configuration says so.
VERSION = "1.14.0"


class Judge0View(FormatView):
    format = formats.JUDGE0
    theirs = {
        "runtime": "language_id",
        "code": "source_code",
        "argv": "command_line_arguments",
        "limits.cpu_time_ms": "cpu_time_limit",
        "limits.wall_time_ms": "wall_time_limit",
        "limits.memory_bytes": "memory_limit",
    }

    def asks(self, name: str) -> bool:
        return self.request.query_params.get(name) == "true"

    @property
    def fields(self) -> tuple[str, ...]:
        return fields_of(self.request.query_params.get("fields"))

    def wanted(self, body: Any) -> services.Request:
        if not isinstance(body, dict):
            raise problems.Invalid("source_code", "can't be blank", "")
        number = language_id(body)
        runtime = runtime_with(number, self.caller)
        if runtime is None:
            raise problems.Invalid("language_id", f"language with id {str(number)[:20]} doesn't exist", "")
        form = form_of(body, base64_encoded=self.asks("base64_encoded"), as_stored=self.as_stored)
        return wanted(self, runtime, form, announce_start=not self.asks("wait"))

    def as_stored(self, output: str) -> str:
        """Return what is stored of an output of the caller's programs."""
        return redaction.stored(places.client_id_of(self.request), services.db_text(output))

    def mine(self, fields: tuple[str, ...]) -> QuerySet[Execution]:
        """Return the caller's submissions. Those of others do not exist for it, whatever its role."""
        unneeded = [column for column in LARGE if column not in columns_of(fields)]
        rows = Execution.objects.filter(client=self.caller, endpoint=self.format.name)
        return rows.select_related("runtime").defer(*unneeded)


class SubmissionsView(Judge0View):
    http_method_names = ["post", "options"]

    @extend_schema(
        summary="Submit a program",
        operation_id="judge0_submit",
        parameters=[schema.BASE64, schema.WAIT, schema.ASKED],
        request={"application/json": schema.Judge0SubmissionForm},
        responses=schema.answers(
            {201: schema.SUBMISSION, 422: OpenApiResponse(schema.TEXTS_BY_FIELD, "What is wrong, by field.")},
            *(400, 409, 413, 415, 429),
        ),
        tags=["Judge0"],
    )
    def post(self, request: Request) -> Response:
        fields = self.fields
        if self.asks("wait"):
            execution = run_to_end(self, self.wanted(self.body))
            body = submission(execution, fields, base64_encoded=self.asks("base64_encoded"))
            return Response(body, status=201, headers=timing_headers(execution))
        return Response({"token": self._submitted()}, status=201)

    def _submitted(self) -> str:
        request = self.wanted(self.body)
        execution = services.submit(request, policy=request.runtime.code_policy)
        refuse_unless_run(execution)
        return str(execution.pk)


class SubmissionView(Judge0View):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="One submission",
        operation_id="judge0_submission",
        parameters=[schema.BASE64, schema.ASKED],
        responses=schema.answers({200: schema.SUBMISSION}, 400, 404),
        tags=["Judge0"],
    )
    def get(self, request: Request, token: str) -> Response:
        fields = self.fields
        pk = uuid_of(token)
        execution = self.mine(fields).filter(pk=pk).first() if pk else None
        if execution is None:
            raise Http404
        return Response(submission(execution, fields, base64_encoded=self.asks("base64_encoded")))


def uuid_of(token: str) -> UUID | None:
    try:
        return UUID(token)
    except ValueError:
        return None


class BatchView(Judge0View):
    http_method_names = ["get", "post", "head", "options"]

    @extend_schema(
        summary="Submit several programs",
        operation_id="judge0_submit_batch",
        description="Each is accepted or refused by itself.",
        parameters=[schema.BASE64],
        request={"application/json": schema.Judge0BatchForm},
        responses=schema.answers(
            {
                201: OpenApiResponse(schema.LISTED, "A token, or what is wrong by field, for each."),
                422: OpenApiResponse(schema.REFUSED_BATCH, "What is wrong with each: none was accepted."),
            },
            *(400, 409, 413, 415, 429),
        ),
        tags=["Judge0"],
    )
    def post(self, request: Request) -> Response:
        given = self.body.get("submissions")
        count = len(given) if isinstance(given, list) else 0
        refuse_count(count)
        done: list[dict[str, Any]] = []
        for one in given or ():
            done.append(self._one(one, done))
        return Response(done, status=201 if has_token(done) else 422)

    def _one(self, body: Any, before: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the token, or what is wrong. Raises what refuses the whole batch.

        `before`: what the earlier ones got. If one has a token, the caller must get it, or would submit it again.
        """
        try:
            request = self.wanted(body)
            execution = services.submit(request, policy=request.runtime.code_policy)
            refuse_unless_run(execution)
        except Exception as e:
            described = problems.describe(e)
            if described is None and has_token(before):
                logger.error("a submission of a batch: %s", without_text(e))
                described = problems.describe(PlatformFault("The service failed. Its log has the reason."))
            if described is None or (not before and described[1]["status"] != problems.UNPROCESSABLE):
                raise
            refusals.note(e, self.request, self.runtime)
            said: dict[str, Any] = self.rendered(described)[1]
            return said
        return {"token": str(execution.pk)}

    @extend_schema(
        summary="Several submissions",
        operation_id="judge0_submissions",
        parameters=[schema.TOKENS, schema.BASE64, schema.ASKED],
        responses=schema.answers({200: schema.Judge0SubmissionsSchema}, 400, 429),
        tags=["Judge0"],
    )
    def get(self, request: Request) -> Response:
        fields = self.fields
        asked = request.headers.get("tokens") or request.query_params.get("tokens", "")
        tokens = [token for token in asked.strip().split(",") if token]
        refuse_count(len(tokens))
        wanted = [pk for pk in map(uuid_of, tokens) if pk]
        ids = list(self.mine(fields).filter(pk__in=wanted).values_list("pk", flat=True))
        place = places.PageOf(places.client_id_of(request))
        if large := columns_of(fields):
            read = list(groups(ids, large))
            if len(read) > 1:
                raise problems.Malformed("the submissions are too large together: ask for fewer, or fewer fields")
            place.reading(sum(size for _, size in read))
        rows = self.mine(fields).in_bulk(ids)
        encoded = self.asks("base64_encoded")
        shown = {pk: submission(row, fields, base64_encoded=encoded) for pk, row in rows.items()}
        response = Response({"submissions": [shown.get(uuid_of(token)) for token in tokens]})
        place.keep_until_closed(response)
        return response


def has_token(done: list[dict[str, Any]]) -> bool:
    return any("token" in one for one in done)


def refuse_count(count: int) -> None:
    if count > LARGEST_BATCH:
        raise problems.Malformed(
            f"number of submissions in a batch should be less than or equal to {LARGEST_BATCH}"
        )
    if not count:
        raise problems.Malformed("there should be at least one submission in a batch")


def _listed(number: int, runtime: Runtime) -> dict[str, Any]:
    return {"id": number, "name": runtime.name}


class LanguagesView(Judge0View):
    http_method_names = ["get", "head", "options"]
    # What each language has beside its id and its name.
    marks: ClassVar[dict[str, Any]] = {}

    @extend_schema(
        summary="List languages",
        operation_id="judge0_languages",
        description="A runtime is listed under each of Judge0's ids for its language.",
        responses=schema.answers({200: schema.Judge0LanguageSchema(many=True)}),
        tags=["Judge0"],
    )
    def get(self, request: Request) -> Response:
        return Response([_listed(number, runtime) | self.marks for number, runtime in languages(self.caller)])


@extend_schema_view(
    get=extend_schema(
        summary="List languages, also archived ones",
        operation_id="judge0_all_languages",
        description="None is archived.",
        responses=schema.answers({200: schema.Judge0MarkedLanguageSchema(many=True)}),
    )
)
class AllLanguagesView(LanguagesView):
    marks: ClassVar[dict[str, Any]] = {"is_archived": False}


class LanguageView(Judge0View):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="One language",
        operation_id="judge0_language",
        responses=schema.answers({200: schema.Judge0WholeLanguageSchema}, 404),
        tags=["Judge0"],
    )
    def get(self, request: Request, number: int) -> Response:
        runtime = runtime_with(number, self.caller)
        if runtime is None:
            raise Http404
        commands = {"compile_cmd": runtime.compile_command or None, "run_cmd": runtime.run_command or None}
        whole = AllLanguagesView.marks | {"source_file": runtime.source_file}
        return Response(_listed(number, runtime) | whole | commands)


class StatusesView(Judge0View):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="List statuses",
        operation_id="judge0_statuses",
        responses=schema.answers({200: schema.Judge0StatusSchema(many=True)}),
        tags=["Judge0"],
    )
    def get(self, request: Request) -> Response:
        return Response([{"id": number, "description": text} for number, text in STATUSES.items()])


class AboutView(Judge0View):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="About",
        operation_id="judge0_about",
        description="`version` is the release of Judge0 whose ids of languages hold here.",
        responses=schema.answers({200: schema.Judge0AboutSchema}),
        tags=["Judge0"],
    )
    def get(self, request: Request) -> Response:
        about = {
            "version": VERSION,
            "homepage": request.build_absolute_uri("/docs"),
            "source_code": "",
            "maintainer": f"Sandbox Platform {settings.VERSION}",
        }
        return Response(about)


class ConfigView(Judge0View):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="Configuration",
        operation_id="judge0_config",
        description="The names of Judge0. Limits are the highest of all runtimes, within the client's caps.",
        responses=schema.answers({200: schema.CONFIG}),
        tags=["Judge0"],
    )
    def get(self, request: Request) -> Response:
        return Response(answers.configuration(self.caller, LARGEST_BATCH))
