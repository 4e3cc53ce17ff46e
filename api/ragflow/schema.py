"""The shape of RAGFlow's requests and answers, for the OpenAPI schema. contract.py does the work."""

from rest_framework import serializers

from api.ragflow.contract import LANGUAGES
from api.v1.schema import AnyJson
from clients.admission import LABELS
from executions.forms import BASE64
from sandbox_platform.kit.fields import Name

STATUSES = ["success", "program_error", "resource_limit_exceeded", "program_runner_error"]


class RunRequestSerializer(serializers.Serializer):  # type: ignore[type-arg]
    code_b64 = Name(BASE64, "Not base64.", allow_blank=True, help_text="The program, UTF-8, base64-encoded.")
    language = serializers.ChoiceField(choices=LANGUAGES, default="python")
    arguments = serializers.DictField(
        allow_null=True,
        required=False,
        help_text="Given to main(): by name in Python, as one object in JavaScript.",
    )


class ResultSerializer(serializers.Serializer):  # type: ignore[type-arg]
    present = serializers.BooleanField()
    value = AnyJson(help_text="What main() returned.")
    type = serializers.ChoiceField(choices=["json"])


class ArtifactSerializer(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField()
    mime_type = serializers.CharField()
    size = serializers.IntegerField()
    content_b64 = serializers.CharField()


class RunResultSerializer(serializers.Serializer):  # type: ignore[type-arg]
    status = serializers.ChoiceField(choices=STATUSES)
    stdout = serializers.CharField(help_text="Empty unless the run succeeded.")
    stderr = serializers.CharField(help_text="Never empty when the run failed.")
    exit_code = serializers.IntegerField()
    detail = serializers.CharField(allow_null=True)
    time_used_ms = serializers.FloatField(allow_null=True)
    memory_used_kb = serializers.IntegerField(allow_null=True)
    resource_limit_type = serializers.ChoiceField(choices=["time", "memory", "output"], allow_null=True)
    unauthorized_access_type = serializers.CharField(allow_null=True, help_text="Always null.")
    runtime_error_type = serializers.ChoiceField(choices=["nonzero_exit"], allow_null=True)
    artifacts = ArtifactSerializer(many=True)
    result = ResultSerializer(allow_null=True)


class ProblemSerializer(serializers.Serializer):  # type: ignore[type-arg]
    type = serializers.CharField()
    loc = serializers.ListField(child=AnyJson())
    msg = serializers.CharField()
    input = AnyJson()


class MalformedSerializer(serializers.Serializer):  # type: ignore[type-arg]
    detail = ProblemSerializer(many=True)


class RefusedSerializer(serializers.Serializer):  # type: ignore[type-arg]
    detail = serializers.CharField()


class OverLimitSerializer(RefusedSerializer):
    limit = serializers.ChoiceField(choices=list(LABELS))
    value = serializers.IntegerField(help_text="What the client may have.")
    used = serializers.IntegerField()
    frees_at = serializers.DateTimeField(allow_null=True, help_text="null: when one of its executions ends.")
