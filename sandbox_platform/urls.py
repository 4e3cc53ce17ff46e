from typing import Any

from django.contrib import admin
from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView

from executions.api.events import EventsView
from executions.ragflow.views import RunView, healthz, readyz, run_with_slash

handler404 = "executions.ragflow.views.not_found"

OPEN: dict[str, list[Any]] = {"authentication_classes": [], "permission_classes": []}

urlpatterns = [
    path("", healthz),
    path("healthz", healthz),
    path("readyz", readyz),
    path("run", RunView.as_view()),
    path("run/", run_with_slash),
    path("api/v1/executions/<uuid:execution_id>/events", EventsView.as_view()),
    path("openapi.json", SpectacularJSONAPIView.as_view(**OPEN), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(**OPEN, url_name="schema")),
    path("admin/", admin.site.urls),
]
