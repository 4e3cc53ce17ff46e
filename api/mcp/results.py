"""Runs as tools return them: facts for programs, the same as text for models, pictures, and links to files."""

import base64
from typing import Any

from django.utils.encoding import iri_to_uri
from rest_framework.request import Request

from api.mcp.protocol import encoded
from api.mcp.tools import LANGUAGE, RUNTIME
from api.v1.answers import ArtifactSchema
from executions.models import Artifact, Execution, Status
from executions.representation import json_value
from redaction import services as redaction

# Of each text in one result: a model reads all of it.
MOST_CHARACTERS = 20_000
# Of all pictures in one result. Clients take events of a megabyte, and base64 adds a third.
MOST_IMAGE_BYTES = 384 * 1024
SHOWN_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
RETRY_S = 5


def result(structured: dict[str, Any], *further: dict[str, Any], is_error: bool = False) -> dict[str, Any]:
    """Return a tool's result. The text is the same JSON, for clients that read no structured content."""
    text = {"type": "text", "text": encoded(structured).decode()}
    return {"content": [text, *further], "structuredContent": structured, "isError": is_error}


def refusal(problem: dict[str, Any], retry_after_s: str | None) -> dict[str, Any]:
    """Return the result of a call that was refused, for the model to correct it, or to try again."""
    field = LANGUAGE if problem["field"] == RUNTIME else problem["field"]
    said = {"error": problem["detail"], "field": field, "remedy": problem["remedy"]}
    said = {name: value for name, value in said.items() if value}
    if retry_after_s:
        said["retry_after_s"] = int(retry_after_s)
    return {"content": [{"type": "text", "text": encoded(said).decode()}], "isError": True}


def run(execution: Execution, request: Request, *, offset: int = 0, with_code: bool = False) -> dict[str, Any]:
    """Return the result that is one run. Only a fault of the platform is an error."""
    artifacts = list(execution.artifacts.defer("content")) if execution.artifact_count else []
    files = [_file(artifact, request) for artifact in artifacts]
    structured = facts(execution, offset=offset, with_code=with_code) | ({"files": files} if files else {})
    links = [_link(file) for file in files]
    fault = execution.status == Status.PLATFORM_ERROR
    if fault:
        structured["message"] = (
            f"The platform failed, not the program: {execution.message} Try again in {RETRY_S} seconds."
        )
    elif not execution.is_finished:
        structured["message"] = "It has not ended. Call get_run with this id and wait."
    return result(structured, *_images(artifacts, files), *links, is_error=fault)


def facts(execution: Execution, *, offset: int = 0, with_code: bool = False) -> dict[str, Any]:
    """Return what is known of the run and not empty, without its files. Of long texts, the part from `offset` on."""
    shown = redaction.shown(execution)
    texts = {name: getattr(shown, name) for name in ("stdout", "stderr", *(["code"] if with_code else []))}
    if shown.result is not None and len(shown.result) > MOST_CHARACTERS:
        texts["result"] = shown.result
    structured = summary(shown) | {name: _cut(text, offset) for name, text in texts.items()}
    lengths = {f"{name}_length": len(text) for name, text in texts.items() if structured[name] != text}
    if shown.result is not None and "result" not in texts:
        structured["result"] = json_value(shown.result)
    return structured | lengths


def summary(execution: Execution) -> dict[str, Any]:
    """Return the facts of bounded size that are not empty."""
    names = ("outcome", "message", "mode", "exit_code", "signal", "peak_memory_bytes", "labels")
    found = {name: getattr(execution, name) for name in names}
    found |= {
        LANGUAGE: execution.runtime.slug,
        "queued_at": execution.queued_at.isoformat(),
        "duration_ms": execution.run_ms,
    }
    kept = {name: value for name, value in found.items() if value not in (None, "", {})}
    return {"id": str(execution.pk), "status": str(execution.status)} | kept


def _cut(text: str, offset: int) -> str:
    """Return the part of the text that a result has place for: beginning and end, because errors stand at the end."""
    rest = text[offset:]
    if len(rest) <= MOST_CHARACTERS:
        return rest
    if offset:
        return rest[:MOST_CHARACTERS]
    half = MOST_CHARACTERS // 2
    left_out = len(rest) - 2 * half
    return f"{rest[:half]}\n[... {left_out} characters left out: get_run with offset {half} ...]\n{rest[-half:]}"


def _file(artifact: Artifact, request: Request) -> dict[str, Any]:
    values: dict[str, Any] = ArtifactSchema.dump(artifact)
    return values | {"url": iri_to_uri(request.build_absolute_uri(values["url"]))}


def _link(file: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "resource_link",
        "name": file["name"],
        "uri": file["url"],
        "mimeType": file["content_type"],
        "size": file["size"],
    }


def _images(artifacts: list[Artifact], files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pictures that fit, in order."""
    images, left = [], MOST_IMAGE_BYTES
    for artifact, file in zip(artifacts, files, strict=True):
        if file["content_type"] in SHOWN_IMAGES and 0 < artifact.size <= left:
            left -= artifact.size
            data = base64.b64encode(bytes(artifact.content)).decode()
            images.append({"type": "image", "data": data, "mimeType": file["content_type"]})
    return images
