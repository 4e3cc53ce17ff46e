"""Base of all views in /api/v1: parsing, rendering, errors, and the executions that a caller may see."""

import base64
import json
import math
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from django.utils.datastructures import MultiValueDict
from rest_framework import parsers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from api.v1 import problems
from clients.models import Client
from clients.permissions import MayRun
from executions.models import Execution
from runtimes.models import Runtime
from sandbox_platform.kit.json_size import TooManyValues, refuse_many_values
from sandbox_platform.kit.units import exact

FORM_FIELD = "execution"


class Renderer(JSONRenderer):
    # A program may return lone surrogates. JSON can hold them as escapes; UTF-8 cannot encode them.
    ensure_ascii = True


class Negotiation(BaseContentNegotiation):
    """Choose the parser by Content-Type, and always JSON for the response: it helps a caller more than a 406."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def refuse_oversize(request: Request) -> None:
    # Django's limit counts neither files nor bodies that are read as a stream.
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if length > limit:
        raise problems.TooLarge(
            f"The request has {length:,} bytes; the limit is {exact(limit, 'bytes')} (SANDBOX_MAX_REQUEST).",
            remedy="Send a smaller request.",
        )


def loads(raw: bytes | str) -> Any:
    """Parse JSON and raise problems.Malformed if it is invalid, holds NaN or an infinity, or nests too deeply.

    Raises problems.TooLarge if it has too many values.
    """
    try:
        refuse_many_values(raw.encode() if isinstance(raw, str) else raw, settings.SANDBOX_MAX_VALUES)
        return json.loads(raw, parse_constant=_no_number, parse_float=_finite)
    except TooManyValues as e:
        raise problems.TooLarge(f"Too large: {e}.", remedy="Send large data as files.") from e
    except RecursionError as e:
        raise problems.Malformed("The JSON is nested too deeply.", remedy="Reduce the nesting.") from e
    except ValueError as e:
        raise problems.Malformed(f"The body is not JSON: {e}", remedy="Send well-formed JSON in UTF-8.") from e


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


class JsonParser(parsers.BaseParser):
    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        refuse_oversize(parser_context["request"])
        return loads(stream.read())


class FormParser(parsers.MultiPartParser):
    """Parse multipart/form-data into the same object as the JSON body.

    The part `execution` holds the JSON object. Every other part is a file, and the part's name is its path.
    """

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        refuse_oversize(parser_context["request"])
        parsed: Any = super().parse(stream, media_type, parser_context)
        texts: MultiValueDict[str, str] = parsed.data
        # Clients send this part with or without a file name.
        form = parsed.files.pop(FORM_FIELD, None)
        data = loads(form[-1].read() if form else texts.get(FORM_FIELD, "{}"))
        if not isinstance(data, dict):
            raise problems.Invalid(FORM_FIELD, "Must be a JSON object.")
        files = [
            {"path": path, "content_base64": base64.b64encode(file.read()).decode()}
            for path in parsed.files
            for file in parsed.files.getlist(path)
        ]
        files += [
            {"path": path, "content": text} for path in texts if path != FORM_FIELD for text in texts.getlist(path)
        ]
        if files and isinstance(data.setdefault("files", []), list):
            data["files"] += files
        return data


class ApiView(APIView):
    permission_classes = [MayRun]
    parser_classes = [JsonParser]
    renderer_classes = [Renderer]
    content_negotiation_class = Negotiation
    # Which one the request asks for, once a view knows it: what a refusal is counted for.
    runtime: Runtime | None = None

    def get_exception_handler(self) -> Any:
        return problems.handler

    @property
    def caller(self) -> Client | None:
        user: object = self.request.user
        return user if isinstance(user, Client) else None

    def visible(self) -> QuerySet[Execution]:
        return Execution.objects.visible_to(self.caller).select_related("runtime", "client")

    def execution(self, execution_id: UUID) -> Execution:
        """Return the execution. Raises Http404 if it does not exist or belongs to another client."""
        execution = self.visible().filter(pk=execution_id).first()
        if execution is None:
            raise Http404
        return execution
