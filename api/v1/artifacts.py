"""/api/v1/executions/{id}/artifacts: list and download the artifacts of an execution."""

from uuid import UUID

from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.answers import ArtifactSchema, content_type
from api.v1.base import ApiView
from executions import export
from sandbox_platform.kit.downloads import as_attachment


class ArtifactsView(ApiView):
    @extend_schema(
        summary="Artifacts of an execution",
        operation_id="list_artifacts",
        responses=schema.answers({200: ArtifactSchema(many=True)}, 404),
        tags=["Executions"],
    )
    def get(self, request: Request, execution_id: UUID) -> Response:
        execution = self.execution(execution_id)
        artifacts = execution.artifacts.defer("content") if execution.artifact_count else ()
        return Response([ArtifactSchema.dump(artifact) for artifact in artifacts])


class ArtifactView(ApiView):
    @extend_schema(
        summary="Download an artifact",
        operation_id="get_artifact",
        responses={
            **schema.answers({}, 404),
            (200, "*/*"): OpenApiResponse(
                OpenApiTypes.BINARY, "The file, always as an attachment, with the artifact's `content_type`."
            ),
        },
        tags=["Executions"],
    )
    def get(self, request: Request, execution_id: UUID, name: str) -> HttpResponse:
        execution = self.execution(execution_id)
        artifact = execution.artifacts.filter(name=name).first() if "\0" not in name else None
        if artifact is None:
            raise Http404
        content = bytes(artifact.content)
        # What a client fetches of its own runs is the answer to its request, and no news to the trail.
        if execution.client != self.caller:
            export.record_download(execution, f"artifact {artifact.name}", len(content), http=request)
        return as_attachment(artifact.name, content, content_type(artifact.name))
