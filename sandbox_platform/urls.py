from typing import Any

from csp.decorators import csp_update
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView

from api.console import RunFromConsole
from api.document import document
from api.ragflow.views import RunView, healthz, readyz, run_with_slash
from api.v1.problems import not_found
from sandbox_platform.redoc import redoc_script

# Here rather than at the start of every process: see console/apps.py.
admin.autodiscover()

handler404 = "api.ragflow.views.not_found"
handler500 = "api.failures.failed"

OPEN: dict[str, list[Any]] = {"authentication_classes": [], "permission_classes": []}
# Swagger UI and Redoc both need inline styles, and Redoc's search runs in a worker created from a blob. Their
# scripts are served as static files, so script-src stays as it is.
documentation = csp_update({"style-src": ["'unsafe-inline'"], "worker-src": ["blob:"]})

urlpatterns = [
    path("", healthz),
    path("healthz", healthz),
    path("readyz", readyz),
    path("run", RunView.as_view()),
    path("run/", run_with_slash),
    path("openapi.json", document, name="schema"),
    path("docs", documentation(SpectacularSwaggerSplitView.as_view(**OPEN, url_name="schema"))),
    path("redoc", documentation(SpectacularRedocView.as_view(**OPEN, url_name="schema"))),
    path("redoc/bundles/redoc.standalone.js", redoc_script),
    path("api/v1", not_found),
    path("api/v1/", include("api.v1.urls")),
    path("admin/playground/run/", RunFromConsole.as_view(), name="playground_run"),
    path("admin/", admin.site.urls),
]
