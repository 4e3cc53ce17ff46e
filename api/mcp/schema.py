"""OpenAPI schema of POST /mcp. What params and results hold is MCP's specification, and tools.py."""

from typing import Any, ClassVar

import mcp_types
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_field
from rest_framework import serializers

from api.mcp.protocol import LARGEST_ID, LONGEST_ID
from sandbox_platform.kit.fields import Strict
from sandbox_platform.kit.schemas import AnyJson, Schema

ID = {
    "anyOf": [
        {"type": "integer", "minimum": -LARGEST_ID, "maximum": LARGEST_ID},
        {"type": "string", "maxLength": LONGEST_ID},
    ]
}


@extend_schema_field(ID)
class Id(serializers.JSONField):
    pass


@extend_schema_field({"type": "object", "additionalProperties": {}})
class Anything(serializers.JSONField):
    pass


class RpcMessageForm(Strict):
    """A JSON-RPC request, or a notification, which has no id."""

    also: ClassVar[dict[str, Any]] = {}
    jsonrpc = serializers.ChoiceField(["2.0"])
    id = Id(required=False, help_text="A number or a text.")
    method = serializers.CharField(help_text="Such as `tools/list` or `tools/call`.", allow_blank=True)
    params = Anything(required=False)


class RpcErrorSchema(Schema):
    code = serializers.IntegerField()
    message = serializers.CharField()
    data = AnyJson(required=False, help_text="A problem document, if there is one.")  # type: ignore[assignment]


class RpcFailureSchema(Schema):
    jsonrpc = serializers.ChoiceField(["2.0"])
    id = AnyJson(help_text="null if the request has none that could be read.")
    error = RpcErrorSchema()


class RpcAnswerSchema(Schema):
    """The answer to a request: a result or an error."""

    jsonrpc = serializers.ChoiceField(["2.0"])
    id = AnyJson(allow_null=False)
    result = Anything(required=False)
    error = RpcErrorSchema(required=False)


class RpcEventSchema(Schema):
    """An event with one JSON-RPC message: progress, and at last the answer."""

    event = serializers.ChoiceField(["message"])
    data = serializers.CharField()  # type: ignore[assignment]


def rpc_failure(text: str) -> dict[str, Any]:
    """Return the answer to a request that failed here."""
    error = {"code": mcp_types.INTERNAL_ERROR, "message": text}
    return {"jsonrpc": "2.0", "id": None, "error": error}


JSON = "application/json"
DESCRIPTION = (
    "The Model Context Protocol over streamable HTTP, in the revisions 2026-07-28, 2025-11-25 and 2025-06-18: see "
    "docs/mcp.md. Tools: `run_code`, `list_runtimes`, `get_run`, `search_runs`. In the newest revision, the headers "
    "`MCP-Protocol-Version`, `Mcp-Method` and `Mcp-Name` repeat parts of the body. There is neither GET nor DELETE."
)
EXAMPLES = [
    OpenApiExample(
        "List the tools",
        value={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        request_only=True,
        media_type=JSON,
    ),
    OpenApiExample(
        "Run a program",
        value={
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "run_code", "arguments": {"language": "python", "code": "print(6*7)"}},
        },
        request_only=True,
        media_type=JSON,
    ),
]
WHY = {
    400: "Not a JSON-RPC message, or in a revision that is not served.",
    401: "The token is missing or wrong.",
    403: "A page of another site sent the request.",
    405: "Only POST is served.",
    404: "The method does not exist, in revision 2026-07-28.",
    413: "The request is too large.",
    415: "Not JSON.",
    429: "Too many requests at the same time.",
    503: "No client is configured, or the database does not answer.",
}
ANSWERS: dict[Any, Any] = {
    (200, JSON): RpcAnswerSchema,
    (200, "text/event-stream"): RpcEventSchema,
    202: OpenApiResponse(description="A notification was taken."),
    **{(status, JSON): OpenApiResponse(RpcFailureSchema, text) for status, text in WHY.items()},
}
