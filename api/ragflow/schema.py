"""RAGFlow's requests, for the OpenAPI schema: contract.py reads them."""

from rest_framework import serializers

from api.ragflow.contract import LANGUAGES
from executions.forms import BASE64
from sandbox_platform.kit.fields import Name


class RunRequestSerializer(serializers.Serializer):  # type: ignore[type-arg]
    code_b64 = Name(BASE64, "Not base64.", allow_blank=True, help_text="The program, UTF-8, base64-encoded.")
    language = serializers.ChoiceField(choices=LANGUAGES, default="python")
    arguments = serializers.DictField(
        allow_null=True,
        required=False,
        help_text="Given to main(): by name in Python, as one object in JavaScript.",
    )
