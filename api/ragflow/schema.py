"""OpenAPI schema of RAGFlow's requests. contract.py parses them."""

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers

from api.ragflow import results
from api.ragflow.contract import LANGUAGES
from executions.forms import BASE64
from sandbox_platform.kit.fields import Name


class RunRequestSerializer(serializers.Serializer):  # type: ignore[type-arg]
    code_b64 = Name(BASE64, "Not base64.", allow_blank=True, help_text="The program, UTF-8, base64-encoded.")
    language = serializers.ChoiceField(choices=LANGUAGES, default="python")
    arguments = serializers.DictField(
        allow_null=True,
        required=False,
        help_text="Passed to main(): as keyword arguments in Python, as one object in JavaScript.",
    )


REFUSED_FOR_NOW = PolymorphicProxySerializer(
    component_name="RefusedForNow",
    serializers=[results.OverLimitSerializer, results.BusySerializer],
    resource_type_field_name=None,
)
