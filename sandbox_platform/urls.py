from typing import Any

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularRedocView, SpectacularSwaggerView

from executions.api.problems import not_found
from executions.ragflow.views import RunView, healthz, readyz, run_with_slash

handler404 = "executions.ragflow.views.not_found"

OPEN: dict[str, list[Any]] = {"authentication_classes": [], "permission_classes": []}

urlpatterns = [
    path("", healthz),
    path("healthz", healthz),
    path("readyz", readyz),
    path("run", RunView.as_view()),
    path("run/", run_with_slash),
    path("openapi.json", SpectacularJSONAPIView.as_view(**OPEN), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(**OPEN, url_name="schema")),
    path("redoc", SpectacularRedocView.as_view(**OPEN, url_name="schema")),
    path("api/v1", not_found),
    path("api/v1/", include("executions.api.urls")),
    path("admin/", admin.site.urls),
]
