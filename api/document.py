"""The OpenAPI document, open to everybody: made once in each process, because that takes a second of a core."""

import threading
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer

_one_at_a_time = threading.Lock()


@require_safe
def document(request: HttpRequest) -> HttpResponse:
    with _one_at_a_time:
        content = _made()
    return HttpResponse(
        content,
        content_type=OpenApiJsonRenderer.media_type,
        headers={"Content-Disposition": 'inline; filename="openapi.json"'},
    )


@cache
def _made() -> bytes:
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    return bytes(
        OpenApiJsonRenderer().render(generator.get_schema(request=None, public=True), renderer_context={})
    )
