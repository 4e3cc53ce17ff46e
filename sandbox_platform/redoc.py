"""Serve Redoc's script without the logo that it would load from its vendor's server."""

from functools import cache
from importlib.resources import files

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

BUNDLE = "static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"
LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_IMAGE = b"data:,"  # Redoc hides a logo that fails to load


@require_safe
@gzip_page
@cache_control(max_age=3600)
def redoc_script(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_script(), content_type="text/javascript")


@cache
def _script() -> bytes:
    return files("drf_spectacular_sidecar").joinpath(BUNDLE).read_bytes().replace(LOGO, NO_IMAGE)
