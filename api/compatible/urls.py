from django.urls import path
from django.urls.resolvers import URLPattern

from api.compatible import dify, piston
from api.compatible.judge0 import views as judge0
from api.compatible.librechat import views as librechat
from api.compatible.sandbox_fusion import views as sandbox_fusion


def _piston(beginning: str, end: str = "", **options: None) -> list[URLPattern]:
    return [
        path(f"{beginning}/execute{end}", piston.ExecuteView.as_view(**options)),
        path(f"{beginning}/runtimes{end}", piston.RuntimesView.as_view(**options)),
        path(f"{beginning}/packages{end}", piston.PackagesView.as_view(**options)),
    ]


urlpatterns = [
    *_piston("api/v2"),
    # Where the public instance has it, and as a client library writes the addresses.
    *_piston("api/v2/piston", schema=None),
    *_piston("api/v2", "/", schema=None),
    *_piston("api/v2/piston", "/", schema=None),
    path("submissions", judge0.SubmissionsView.as_view()),
    path("submissions/", judge0.SubmissionsView.as_view(schema=None)),
    path("submissions/batch", judge0.BatchView.as_view()),
    path("submissions/<str:token>", judge0.SubmissionView.as_view()),
    path("languages", judge0.LanguagesView.as_view()),
    path("languages/all", judge0.AllLanguagesView.as_view()),
    path("languages/<int:number>", judge0.LanguageView.as_view()),
    path("statuses", judge0.StatusesView.as_view()),
    path("about", judge0.AboutView.as_view()),
    path("config_info", judge0.ConfigView.as_view()),
    path("v1/sandbox/run", dify.RunView.as_view()),
    path("v1/sandbox/dependencies", dify.DependenciesView.as_view()),
    path("v1/sandbox/dependencies/refresh", dify.DependenciesView.as_view(schema=None)),
    path("v1/sandbox/dependencies/update", dify.UpdateView.as_view()),
    path("health", dify.health),
    path("run_code", sandbox_fusion.RunCodeView.as_view()),
    path("run_jupyter", sandbox_fusion.RunJupyterView.as_view()),
    path("exec", librechat.ExecView.as_view()),
    path("upload", librechat.UploadView.as_view()),
    path("upload/batch", librechat.BatchUploadView.as_view()),
    path("download/<str:session>/<str:file_id>", librechat.DownloadView.as_view()),
    path("files/<str:session>", librechat.FilesView.as_view()),
    path("files/<str:session>/<str:file_id>", librechat.DeletionView.as_view()),
    path("sessions/<str:session>/objects/<str:file_id>", librechat.FileView.as_view()),
]
