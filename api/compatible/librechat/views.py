"""LibreChat's code interpreter: POST /exec and /upload, GET /download and /files.

Source: ClickHouse/code-interpreter, service/src/service/router.ts; danny-avila/agents, src/tools/CodeExecutor.ts;
danny-avila/LibreChat, api/server/services/Files/Code. docs/doors.md lists what differs.
"""

import re
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from api.compatible.base import FormatView
from api.compatible.catalogue import runtime_named
from api.compatible.endings import code_and_signal, word_of
from api.compatible.librechat import schema, sessions
from api.compatible.librechat.sessions import UPLOAD, Session, described
from api.compatible.librechat.uploads import UploadParser
from api.compatible.running import refuse_unless_run, run_to_end, wanted, with_files
from api.v1.answers import content_type
from api.v1.problems import Malformed
from clients.admission import usable
from executions import services
from executions.models import Execution, Outcome
from executions.representation import timing_headers
from sandbox_platform.kit import formats
from sandbox_platform.kit.downloads import as_attachment

# LibreChat's names of languages that no runtime has as an alias.
LANGUAGES = {"py": "python", "js": "nodejs"}
# Where LibreChat tells its models that files are.
MNT_DATA = re.compile(r"(?<![\w.-])/mnt/data(?![\w-])")
# What the program or its compiler says itself.
SAID_BY_STDERR = (Outcome.COMPLETED, Outcome.NONZERO_EXIT, Outcome.COMPILE_FAILED)
# The first of these, or any other runtime, runs the empty program of an upload.
UPLOADED_WITH = ("python", "bash", "nodejs")


class LibreChatView(FormatView):
    format = formats.LIBRECHAT
    theirs = {"runtime": "lang", "argv": "args"}

    def session(self, text: str) -> Session:
        return sessions.session(self.caller, text)


class ExecView(LibreChatView):
    http_method_names = ["post", "options"]

    @extend_schema(
        summary="Run a program",
        operation_id="librechat_exec",
        request={"application/json": schema.LibreChatExecForm},
        responses=schema.answers({200: schema.LibreChatRanSchema}, *schema.BODY),
        tags=["LibreChat"],
    )
    def post(self, request: Request) -> Response:
        found = sessions.named(self.caller, self.body.get("files"))
        execution = run_to_end(self, self._wanted(), beside=lambda: sessions.contents(found))
        return Response(ran(execution), headers=timing_headers(execution))

    def _wanted(self) -> services.Request:
        body = self.body
        for name in ("lang", "code"):
            if not isinstance(body.get(name), str):
                raise Malformed(f"{name} is required as a text")
        lang = body["lang"]
        unknown = Malformed(f"Unsupported language: {lang[:50]}")
        runtime = runtime_named(LANGUAGES.get(lang.lower(), lang), self.caller, unknown)
        form = {"code": in_workspace(body["code"]), "argv": in_workspace(body.get("args") or [])}
        return wanted(self, runtime, form)


def in_workspace(value: Any) -> Any:
    """Return the text, or those of a list, with the paths of LibreChat's folder as they are in a sandbox."""
    if isinstance(value, str):
        return MNT_DATA.sub("/workspace", value)
    return (
        [in_workspace(one) if isinstance(one, str) else one for one in value] if isinstance(value, list) else value
    )


def ran(execution: Execution) -> dict[str, Any]:
    code, ended_by = code_and_signal(execution)
    stderr = execution.stderr
    # Clients show the two streams and nothing else.
    if execution.message and execution.outcome not in SAID_BY_STDERR:
        stderr = f"{stderr.rstrip()}\n{execution.message}\n".lstrip("\n")
    own = Session(execution)
    return schema.LibreChatRanSchema.dump(
        session_id=own.id,
        stdout=execution.stdout,
        stderr=stderr,
        files=[reference(file) for file in own.files()] if execution.artifact_count else [],
        code=code,
        signal=ended_by,
        message=execution.message or None,
        status=word_of(execution),
        wall_time=None if execution.run_ms is None else round(execution.run_ms),
    )


def reference(file: sessions.File) -> dict[str, Any]:
    return {"id": file.id, "name": file.name, "session_id": file.session, "storage_session_id": file.session}


class UploadView(LibreChatView):
    http_method_names = ["post", "options"]
    parser_classes = [UploadParser]

    @extend_schema(
        summary="Upload files",
        operation_id="librechat_upload",
        description="They are the input of a run of an empty program, which is the session.",
        request=schema.UPLOAD,
        responses=schema.answers({200: schema.LibreChatUploadedSchema}, *schema.BODY),
        tags=["LibreChat"],
    )
    def post(self, request: Request) -> Response:
        return Response(self.stored())

    def stored(self) -> dict[str, Any]:
        """Store the files of the form and describe them. Raises what services.submit raises, and Malformed."""
        if not self.body:
            raise Malformed("No files provided")
        runtimes = usable(self.caller)
        if not runtimes:
            raise PermissionDenied("This client may use no runtime.")
        runtime = next((one for slug in UPLOADED_WITH for one in runtimes if one.slug == slug), runtimes[0])
        request = with_files(wanted(self, runtime, {"code": "", "labels": UPLOAD}, announce_start=True), self.body)
        execution = services.submit(request, policy=runtime.code_policy)
        refuse_unless_run(execution)
        own = Session(execution)
        files = [{"fileId": file.id, "filename": file.name} for file in own.files()]
        return {"message": "success", "session_id": own.id, "storage_session_id": own.id, "files": files}


@extend_schema_view(
    post=extend_schema(
        summary="Upload several files",
        operation_id="librechat_upload_batch",
        description="All of them, or none.",
        responses=schema.answers({200: schema.LibreChatBatchSchema}, *schema.BODY),
    )
)
class BatchUploadView(UploadView):
    def stored(self) -> dict[str, Any]:
        stored = super().stored()
        files = [{"status": "success"} | file for file in stored["files"]]
        return stored | {"files": files, "succeeded": len(files), "failed": 0}


class DownloadView(LibreChatView):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="Download a file",
        operation_id="librechat_download",
        responses=schema.answers({(200, "*/*"): schema.DOWNLOADED}, 404),
        tags=["LibreChat"],
    )
    def get(self, request: Request, session: str, file_id: str) -> HttpResponse:
        own = self.session(session)
        file = own.file(file_id)
        return as_attachment(file.name, own.content(file), content_type(file.name))


class FilesView(LibreChatView):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="Files of a session",
        operation_id="librechat_files",
        parameters=[schema.DETAIL],
        responses=schema.answers({200: schema.LibreChatFileSchema(many=True)}, 404),
        tags=["LibreChat"],
    )
    def get(self, request: Request, session: str) -> Response:
        return Response([described(file) for file in self.session(session).files()])


class FileView(LibreChatView):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="One file of a session",
        operation_id="librechat_file",
        responses=schema.answers({200: schema.LibreChatFileSchema}, 404),
        tags=["LibreChat"],
    )
    def get(self, request: Request, session: str, file_id: str) -> Response:
        return Response(described(self.session(session).file(file_id)))


class DeletionView(LibreChatView):
    http_method_names = ["delete", "options"]

    @extend_schema(
        summary="Delete a file: refused",
        operation_id="librechat_delete",
        responses=schema.answers({}),
        tags=["LibreChat"],
    )
    def delete(self, request: Request, session: str, file_id: str) -> Response:
        raise PermissionDenied("Files go with their run, when its retention is over: callers delete nothing.")
