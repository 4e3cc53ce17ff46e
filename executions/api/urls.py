from django.urls import path, re_path

from executions.api import schema  # noqa: F401  teaches the OpenAPI generator our authentication
from executions.api.batches import BatchesView, BatchView
from executions.api.builds import ActivateBuildView, BuildsView, BuildView, CancelBuildView
from executions.api.catalogue import ProfilesView, ProfileView, RuntimeManifestView, RuntimesView, RuntimeView
from executions.api.events import EventsView
from executions.api.export import ExportView
from executions.api.me import MeView
from executions.api.problems import not_found
from executions.api.rerun import RerunView
from executions.api.stats import StatsView
from executions.api.views import ArtifactsView, ArtifactView, CancelView, ExecutionsView, ExecutionView

urlpatterns = [
    path("executions", ExecutionsView.as_view()),
    path("executions/export", ExportView.as_view()),
    path("executions/<uuid:execution_id>", ExecutionView.as_view()),
    path("executions/<uuid:execution_id>/cancel", CancelView.as_view()),
    path("executions/<uuid:execution_id>/rerun", RerunView.as_view()),
    path("executions/<uuid:execution_id>/events", EventsView.as_view()),
    path("executions/<uuid:execution_id>/artifacts", ArtifactsView.as_view()),
    path("executions/<uuid:execution_id>/artifacts/<str:name>", ArtifactView.as_view()),
    path("batches", BatchesView.as_view()),
    path("batches/<uuid:batch_id>", BatchView.as_view()),
    path("runtimes", RuntimesView.as_view()),
    path("runtimes/<slug:slug>", RuntimeView.as_view()),
    path("runtimes/<slug:slug>/builds", BuildsView.as_view()),
    path("runtimes/<slug:slug>/builds/<int:number>", BuildView.as_view()),
    path("runtimes/<slug:slug>/builds/<int:number>/cancel", CancelBuildView.as_view()),
    path("runtimes/<slug:slug>/builds/<int:number>/activate", ActivateBuildView.as_view()),
    path("runtimes/<slug:slug>/manifest", RuntimeManifestView.as_view()),
    path("seccomp-profiles", ProfilesView.as_view()),
    path("seccomp-profiles/<slug:name>", ProfileView.as_view()),
    path("stats", StatsView.as_view()),
    path("me", MeView.as_view()),
    # Last: what is not there is a problem too.
    re_path(r"", not_found),
]
