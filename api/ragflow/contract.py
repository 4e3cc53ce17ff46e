"""Parse requests in the wire format of RAGFlow's executor manager. results.py builds the responses.

Source: infiniflow/ragflow, agent/sandbox/executor_manager (see docs/ragflow.md for every difference).
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from executions import bounds
from executions.models.execution import CALLED_BY
from sandbox_platform.kit.json_size import refuse_many_values

LANGUAGES = ("python", "nodejs")
# Programs by which people call by hand, by the product in their User-Agent.
BY_HAND = {
    "curl": "curl",
    "wget": "wget",
    "httpie": "httpie",
    "postmanruntime": "postman",
    "sandbox-smoke-test": "smoke-test",  # scripts/smoke.py
}


class Malformed(Exception):
    """Raised for a malformed request. The view answers 422 with the body that FastAPI would send: clients quote it."""

    def __init__(self, kind: str, where: list[str | int], message: str, value: Any) -> None:
        super().__init__(message)
        self.kind, self.where, self.message, self.value = kind, where, message, value


@dataclass(frozen=True)
class RunRequest:
    code: str
    language: str
    arguments: str  # JSON text


def parse_request(body: bytes, content_type: str) -> RunRequest:
    """Parse the body of POST /run. Raises Malformed, TooManyValues, and bounds.OverBound.

    Unknown fields are ignored: RAGFlow's Go client sends some.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise Malformed(
            "model_attributes_type", [], "Send a JSON object with Content-Type: application/json", media
        )
    refuse_many_values(body, settings.SANDBOX_MAX_VALUES)
    try:
        data = json.loads(body)
    except RecursionError as e:
        raise Malformed("json_invalid", [0], "JSON decode error: nested too deeply", {}) from e
    except ValueError as e:
        position = getattr(e, "pos", 0)
        raise Malformed("json_invalid", [position], f"JSON decode error: {e}", {}) from e
    if not isinstance(data, dict):
        raise Malformed("model_attributes_type", [], "Input should be a JSON object", data)
    language = _language(data)
    run = RunRequest(_code(data), language, _arguments(data, language))
    bounds.refuse_large_program(run.code, "code_b64")
    bounds.refuse_large_arguments(run.arguments)
    return run


def labels_of(user_agent: str) -> dict[str, str]:
    """Return the labels of a run: none for a run of RAGFlow's, whose format has no labels."""
    name = BY_HAND.get(user_agent.partition("/")[0].lower())
    return {CALLED_BY: name} if name else {}


def _code(data: dict[str, Any]) -> str:
    where: list[str | int] = ["code_b64"]
    if "code_b64" not in data:
        raise Malformed("missing", where, "Field required: the program, base64-encoded", "")
    value = data["code_b64"]
    if not isinstance(value, str):
        raise Malformed("string_type", where, "Input should be a valid string", value)
    try:
        return base64.b64decode(value.encode("ascii"), validate=True).decode()
    except UnicodeDecodeError as e:
        raise Malformed("value_error", where, "The decoded program is not UTF-8", value[:80]) from e
    except (binascii.Error, UnicodeEncodeError) as e:
        raise Malformed("value_error", where, "Value error, Invalid base64 encoding", value[:80]) from e


def _language(data: dict[str, Any]) -> str:
    value = data.get("language", "python")
    if value not in LANGUAGES:
        raise Malformed("enum", ["language"], "Input should be 'python' or 'nodejs'", value)
    return str(value)


def _arguments(data: dict[str, Any], language: str) -> str:
    value = data.get("arguments")
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        raise Malformed("dict_type", ["arguments"], "Input should be a valid dictionary", value)
    try:
        text = json.dumps(value)
        if language == "nodejs":
            # JSON.parse rejects NaN, so it becomes null here, as it does in results.
            text = json.dumps(json.loads(text, parse_constant=lambda _name: None))
        return text
    except (RecursionError, ValueError) as e:
        raise Malformed("value_error", ["arguments"], f"Cannot be stored: {e}", "") from e
