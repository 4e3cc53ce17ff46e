"""MCP's JSON-RPC over HTTP: what one POST holds, in which revision of the protocol, and how it is answered.

Two eras share the address. Up to 2025-11-25 a client says `initialize` first, and cancels a request by a notification
in another POST. Since 2026-07-28 every request is complete in itself, headers repeat parts of its body, and closing the
connection cancels it. The shapes of both are the SDK's (`mcp_types`).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types
from mcp_types import methods
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

# The newest first. A client of the one before the last gets all that we send.
SUPPORTED = (LATEST_MODERN_VERSION, LATEST_HANDSHAKE_VERSION, "2025-06-18")
HANDSHAKE = tuple(version for version in SUPPORTED if version not in MODERN_PROTOCOL_VERSIONS)
# Has no structured results, so none is agreed on; some clients send it in headers all the same.
OLDEST = "2025-03-26"
VERSION_HEADER = "MCP-Protocol-Version"
SESSION_HEADER = "Mcp-Session-Id"
SESSION = re.compile(r"[\x21-\x7e]{1,128}")
# Methods with a part of the body that the header Mcp-Name repeats.
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
ENCODED = re.compile(r"=\?base64\?(.*)\?=")
# Codes from -32000 to -32019 are the implementation's.
REFUSED = -32000
NOT_FOUND_HANDSHAKE = -32002
LONGEST_ID = 200
LARGEST_ID = 2**53
# Statuses that the newest revision wants of errors; before it, all have 200 but those of the envelope.
STATUSES = {
    mcp_types.PARSE_ERROR: 400,
    mcp_types.INVALID_REQUEST: 400,
    mcp_types.INVALID_PARAMS: 400,
    mcp_types.HEADER_MISMATCH: 400,
    mcp_types.UNSUPPORTED_PROTOCOL_VERSION: 400,
    mcp_types.METHOD_NOT_FOUND: 404,
}

RequestId = int | str


class RpcError(Exception):
    """Answered as an error of JSON-RPC. `status`: of the HTTP answer."""

    def __init__(self, code: int, message: str, *, data: Any = None, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.data, self.status = code, message, data, status


@dataclass(frozen=True)
class Message:
    """A request, or a notification if `id` is None."""

    id: RequestId | None
    method: str
    params: dict[str, Any]
    version: str
    session: str  # "" if the client has none

    @property
    def is_modern(self) -> bool:
        return self.version in MODERN_PROTOCOL_VERSIONS

    @property
    def progress_token(self) -> RequestId | None:
        """The token of a request whose parameters were checked."""
        meta = self.params.get("_meta")
        token = whole(meta.get("progressToken")) if isinstance(meta, dict) else None
        return token if _is_id(token) else None


def message_of(data: Any, headers: Mapping[str, str]) -> Message:
    """Return the one message of a POST. Raises RpcError."""
    if not isinstance(data, dict):
        raise _invalid("Send one JSON-RPC request or notification: a JSON object.")
    method, params = data.get("method"), data.get("params", {})
    if data.get("jsonrpc") != "2.0" or not isinstance(method, str):
        raise _invalid('A message has "jsonrpc": "2.0" and a method.')
    if not isinstance(params, dict):
        raise _invalid("params must be an object.")
    identity = whole(data.get("id"))
    if "id" in data and not _is_id(identity):
        raise _invalid(f"id must be an integer, or a text of up to {LONGEST_ID} characters.")
    version = _version(method, params, headers)
    session = headers.get(SESSION_HEADER, "")
    message = Message(identity, method, params, version, session if SESSION.fullmatch(session) else "")
    if message.is_modern and identity is not None:
        _check_headers(message, headers)
    return message


def whole(value: Any) -> Any:
    # JSON does not distinguish 1.0 from 1.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def id_of(data: Any) -> RequestId | None:
    """Return the id of a message that was refused, None if it has none."""
    identity = whole(data.get("id")) if isinstance(data, dict) else None
    return identity if _is_id(identity) else None


def _is_id(value: Any) -> bool:
    return type(value) is int and abs(value) <= LARGEST_ID or isinstance(value, str) and len(value) <= LONGEST_ID


def _invalid(text: str) -> RpcError:
    return RpcError(mcp_types.INVALID_REQUEST, text, status=400)


def _version(method: str, params: dict[str, Any], headers: Mapping[str, str]) -> str:
    meta = params.get("_meta")
    names_its_own = isinstance(meta, dict) and mcp_types.PROTOCOL_VERSION_META_KEY in meta
    if method == "initialize" and not names_its_own:
        return LATEST_HANDSHAKE_VERSION
    named = headers.get(VERSION_HEADER)
    if named is None and names_its_own:
        raise _mismatch(VERSION_HEADER)
    version = HANDSHAKE[-1] if named in (None, OLDEST) else named
    if version not in SUPPORTED:
        data = {"supported": list(SUPPORTED), "requested": version[:100]}
        raise RpcError(
            mcp_types.UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version", data=data, status=400
        )
    return version


def _mismatch(header: str) -> RpcError:
    text = f"The header {header} is missing, or differs from the body."
    return RpcError(mcp_types.HEADER_MISMATCH, text, status=400)


def _check_headers(message: Message, headers: Mapping[str, str]) -> None:
    meta = message.params.get("_meta")
    needed = (mcp_types.PROTOCOL_VERSION_META_KEY, mcp_types.CLIENT_CAPABILITIES_META_KEY)
    if not isinstance(meta, dict) or any(name not in meta for name in needed):
        text = f"params._meta needs {' and '.join(needed)}."
        raise RpcError(mcp_types.INVALID_PARAMS, text, status=400)
    if meta[mcp_types.PROTOCOL_VERSION_META_KEY] != message.version:
        raise _mismatch(VERSION_HEADER)
    if headers.get("Mcp-Method") != message.method:
        raise _mismatch("Mcp-Method")
    name = message.params.get(NAMED.get(message.method, ""))
    if name is not None and _decoded(headers.get("Mcp-Name", "")) != name:
        raise _mismatch("Mcp-Name")


def _decoded(value: str) -> str | None:
    encoded = ENCODED.fullmatch(value)
    if encoded is None:
        return value
    try:
        return base64.b64decode(encoded[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def check_params(message: Message) -> None:
    """Raise RpcError for a method that the revision does not have, or for parameters of another shape."""
    try:
        methods.validate_client_request(message.method, message.version, message.params)
    except KeyError:
        raise unknown_method(message.method) from None
    except ValidationError as e:
        problem = e.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part)[:50] for part in problem["loc"])
        raise RpcError(mcp_types.INVALID_PARAMS, f"{where}: {problem['msg']}") from e
    # Like the id, it is held while the request waits, and sent with each event.
    meta = message.params.get("_meta")
    given = meta.get("progressToken") if isinstance(meta, dict) else None
    if given is not None and message.progress_token is None:
        text = f"_meta.progressToken must be an integer, or a text of up to {LONGEST_ID} characters."
        raise RpcError(mcp_types.INVALID_PARAMS, text)


def unknown_method(method: str) -> RpcError:
    return RpcError(mcp_types.METHOD_NOT_FOUND, f"There is no method {method[:100]!r} here.")


def result_of(message: Message, result: dict[str, Any]) -> dict[str, Any]:
    """Return the answer with the result, in the shape of the message's revision."""
    if message.is_modern:
        result = {"resultType": "complete"} | result
    shaped = methods.serialize_server_result(message.method, message.version, result)
    return {"jsonrpc": "2.0", "id": message.id, "result": shaped}


def error_of(error: RpcError, identity: RequestId | None) -> dict[str, Any]:
    about: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        about["data"] = error.data
    return {"jsonrpc": "2.0", "id": identity, "error": about}


def status_of(error: RpcError, *, is_modern: bool) -> int:
    return STATUSES.get(error.code, error.status) if is_modern else error.status


def encoded(answer: dict[str, Any]) -> bytes:
    """Return the answer as JSON in UTF-8; one with lone surrogates, which a program may return, in ASCII escapes."""
    try:
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(answer, separators=(",", ":")).encode()


def event(answer: dict[str, Any]) -> bytes:
    # JSON escapes line breaks, so the data is one line.
    return b"event: message\ndata: " + encoded(answer) + b"\n\n"
