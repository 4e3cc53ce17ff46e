from typing import Any

from csp.decorators import csp_update
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.defaults import bad_request, permission_denied
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView

from api.compatible.base import not_found as formats_not_found
from api.console import RunFromConsole
from api.document import document
from api.mcp.views import McpView
from api.metrics import metrics
from api.ragflow.views import RunView, healthz, readyz, run_with_slash
from api.ragflow.views import not_found as ragflow_not_found
from api.v1.problems import not_found
from console import errors
from sandbox_platform.kit import formats
from sandbox_platform.redoc import redoc_script

# Here rather than at the start of every process: see console/apps.py.
admin.autodiscover()


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer in the caller's format: a page of the console, or JSON."""
    if errors.is_console(request):
        return errors.not_found(request, exception)
    if format := formats.at(request.path_info):
        return formats_not_found(format)
    return ragflow_not_found(request, exception)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    return (errors.forbidden if errors.is_console(request) else permission_denied)(request, exception)


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    return (errors.bad_request if errors.is_console(request) else bad_request)(request, exception)


handler500 = "api.failures.failed"

OPEN: dict[str, list[Any]] = {"authentication_classes": [], "permission_classes": []}
# Swagger UI and Redoc both need inline styles, and Redoc's search runs in a worker created from a blob. Their
# scripts are served as static files, so script-src stays as it is.
documentation = csp_update({"style-src": ["'unsafe-inline'"], "worker-src": ["blob:"]})

urlpatterns = [
    path("", healthz),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("run", RunView.as_view()),
    path("run/", run_with_slash),
    path("mcp", McpView.as_view()),
    path("mcp/", McpView.as_view(schema=None)),
    path("", include("api.compatible.urls")),
    path("openapi.json", document, name="schema"),
    path("docs", documentation(SpectacularSwaggerSplitView.as_view(**OPEN, url_name="schema"))),
    path("redoc", documentation(SpectacularRedocView.as_view(**OPEN, url_name="schema"))),
    path("redoc/bundles/redoc.standalone.js", redoc_script),
    path("api/v1", not_found),
    path("api/v1/", include("api.v1.urls")),
    path("admin/playground/run/", RunFromConsole.as_view(), name="playground_run"),
    path("admin/", include("console.sign_on.urls")),
    path("admin/", admin.site.urls),
]
