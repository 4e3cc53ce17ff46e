"""Files of runs as resources of MCP, under the addresses that GET has, too."""

import base64
import re
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import mcp_types
from django.http import Http404

from api.mcp.protocol import NOT_FOUND_HANDSHAKE, Message, RpcError
from api.v1.answers import content_type
from api.v1.base import ApiView
from executions import export
from executions.models import Artifact

ARTIFACT = re.compile(r"https?://[^/?#]+/api/v1/executions/([0-9a-f-]{36})/artifacts/([^/?#]+)")
TEMPLATE = "/api/v1/executions/{id}/artifacts/{name}"
TEXTS = ("text/", "application/json")


def templates(base: str) -> list[dict[str, Any]]:
    return [{"name": "file", "title": "File that a run left", "uriTemplate": base + TEMPLATE}]


def read(message: Message, view: ApiView) -> dict[str, Any]:
    """Return the file's content. Raises RpcError."""
    uri = message.params["uri"]
    artifact = _artifact(uri, view)
    if artifact is None:
        code = mcp_types.INVALID_PARAMS if message.is_modern else NOT_FOUND_HANDSHAKE
        raise RpcError(code, "There is no such file, or it belongs to another client.", data={"uri": uri[:500]})
    content, kind = bytes(artifact.content), content_type(artifact.name).partition(";")[0]
    body: dict[str, Any] = {"uri": uri, "mimeType": kind}
    try:
        if not kind.startswith(TEXTS):
            raise ValueError
        return body | {"text": content.decode()}
    except ValueError:
        return body | {"blob": base64.b64encode(content).decode()}


def _artifact(uri: str, view: ApiView) -> Artifact | None:
    match = ARTIFACT.fullmatch(uri)
    name = unquote(match[2], errors="replace") if match else "\0"
    if match is None or "\0" in name:
        return None
    try:
        execution = view.execution(UUID(match[1]))
    except (ValueError, Http404):
        return None
    artifact: Artifact | None = execution.artifacts.filter(name=name).first()
    # What a client fetches of its own runs is the answer to its request, and no news to the trail.
    if artifact and execution.client != view.caller:
        export.record_download(execution, f"artifact {artifact.name}", artifact.size, http=view.request)
    return artifact
