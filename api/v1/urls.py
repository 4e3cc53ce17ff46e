from django.urls import path, re_path

from api.v1.alerts import AlertsView
from api.v1.artifacts import ArtifactsView, ArtifactView
from api.v1.audit_trail import TrailExportView
from api.v1.batches import BatchesView, BatchView
from api.v1.builds import ActivateBuildView, BuildsView, BuildView, CancelBuildView, DeactivateBuildView
from api.v1.catalogue import RuntimeManifestView, RuntimesView, RuntimeView
from api.v1.descriptions import DescriptionView
from api.v1.events import EventsView
from api.v1.export import ExportView
from api.v1.failures import FailuresView
from api.v1.inspections import CancelInspectionView, ExplainView, InspectionsView, InspectionView, SaveView
from api.v1.me import MeView
from api.v1.nodes import NodesView
from api.v1.problems import not_found
from api.v1.profile_revisions import ActivateView, DiffView, RevisionExportView, RevisionsView, RevisionView
from api.v1.profiles import ProfilesView, ProfileView, ValidateView
from api.v1.rerun import RerunView
from api.v1.stats import StatsView
from api.v1.usage import UsageView
from api.v1.views import CancelView, ExecutionsView, ExecutionView, RequestsView

urlpatterns = [
    path("executions", ExecutionsView.as_view()),
    path("executions/export", ExportView.as_view()),
    path("executions/<uuid:execution_id>", ExecutionView.as_view()),
    path("executions/<uuid:execution_id>/cancel", CancelView.as_view()),
    path("executions/<uuid:execution_id>/rerun", RerunView.as_view()),
    path("executions/<uuid:execution_id>/explain-syscalls", ExplainView.as_view()),
    path("executions/<uuid:execution_id>/events", EventsView.as_view()),
    path("executions/<uuid:execution_id>/requests", RequestsView.as_view()),
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
    path("runtimes/<slug:slug>/builds/<int:number>/deactivate", DeactivateBuildView.as_view()),
    path("runtimes/<slug:slug>/description", DescriptionView.as_view()),
    path("runtimes/<slug:slug>/manifest", RuntimeManifestView.as_view()),
    path("seccomp-profiles", ProfilesView.as_view()),
    path("seccomp-profiles/validate", ValidateView.as_view()),
    path("seccomp-profiles/<slug:name>", ProfileView.as_view()),
    path("seccomp-profiles/<slug:name>/diff", DiffView.as_view()),
    path("seccomp-profiles/<slug:name>/revisions", RevisionsView.as_view()),
    path("seccomp-profiles/<slug:name>/revisions/<int:number>", RevisionView.as_view()),
    path("seccomp-profiles/<slug:name>/revisions/<int:number>/activate", ActivateView.as_view()),
    path("seccomp-profiles/<slug:name>/revisions/<int:number>/export", RevisionExportView.as_view()),
    path("seccomp-inspections", InspectionsView.as_view()),
    path("seccomp-inspections/<int:number>", InspectionView.as_view()),
    path("seccomp-inspections/<int:number>/cancel", CancelInspectionView.as_view()),
    path("seccomp-inspections/<int:number>/save", SaveView.as_view()),
    path("audit-trail/export", TrailExportView.as_view()),
    path("alerts", AlertsView.as_view()),
    path("failures", FailuresView.as_view()),
    path("nodes", NodesView.as_view()),
    path("stats", StatsView.as_view()),
    path("me", MeView.as_view()),
    path("usage", UsageView.as_view()),
    # Last: unknown paths get a problem document, too.
    re_path(r"", not_found),
]
