"""OpenAPI schema of SandboxFusion's requests and answers."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers

from sandbox_platform.kit.schemas import AnyJson, Schema


class _Common(serializers.Serializer):  # type: ignore[type-arg]
    files = serializers.DictField(
        child=serializers.CharField(allow_null=True, allow_blank=True),
        required=False,
        help_text="Contents in base64, by path.",
    )
    fetch_files = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Paths of files to return."
    )
    memory_limit_MB = serializers.IntegerField(required=False, help_text="0 or less: the runtime's. At least 64.")


class SandboxFusionRunForm(_Common):
    code = serializers.CharField(allow_blank=True)
    language = serializers.CharField(help_text="A runtime's slug or alias.")
    stdin = serializers.CharField(required=False, allow_null=True, allow_blank=True)
    args = serializers.ListField(child=serializers.CharField(allow_blank=True), required=False)
    run_timeout = serializers.FloatField(required=False, help_text="Seconds of wall time.")
    compile_timeout = serializers.FloatField(required=False, help_text="At most the runtime's; not lowered.")


class SandboxFusionCellsForm(_Common):
    cells = serializers.ListField(child=serializers.CharField(allow_blank=True), min_length=1)
    total_timeout = serializers.FloatField(required=False, help_text="Seconds. Without it: the runtime's.")
    cell_timeout = serializers.FloatField(required=False, help_text="Not applied, as by SandboxFusion.")
    kernel = serializers.CharField(required=False, help_text="Only `python3`.")


class SandboxFusionCommandSchema(Schema):
    status = serializers.CharField(help_text="`Finished` or `TimeLimitExceeded`.")
    execution_time = serializers.FloatField(allow_null=True, help_text="Seconds.")
    return_code = serializers.IntegerField(allow_null=True, help_text="Below 0: ended by this signal.")
    stdout = serializers.CharField()
    stderr = serializers.CharField()


class _Answer(Schema):
    status = serializers.CharField(help_text="`Success` or `Failed`.")
    message = serializers.CharField(help_text="What our limits did, if anything.")
    executor_pod_name = serializers.CharField(allow_null=True)
    files = serializers.DictField(child=serializers.CharField(), help_text="Contents in base64, by path.")


class SandboxFusionRanSchema(_Answer):
    compile_result = SandboxFusionCommandSchema(allow_null=True)
    run_result = SandboxFusionCommandSchema(allow_null=True)


class SandboxFusionCellSchema(Schema):
    stdout = serializers.CharField()
    stderr = serializers.CharField()
    display = serializers.ListField(child=AnyJson())
    error = serializers.ListField(child=AnyJson())


class SandboxFusionCellsSchema(_Answer):
    driver = SandboxFusionCommandSchema(allow_null=True)
    cells = SandboxFusionCellSchema(many=True)


class SandboxFusionRefusedSchema(Schema):
    detail = AnyJson()
    status = serializers.CharField(required=False, help_text="`SandboxError`.")
    message = serializers.CharField(required=False)


def answers(success: Any) -> dict[Any, Any]:
    statuses = (400, 401, 403, 409, 413, 415, 422, 429, 500, 503)
    return {200: success} | {status: OpenApiResponse(SandboxFusionRefusedSchema) for status in statuses}
