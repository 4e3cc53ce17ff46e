"""Section 2 of RAGFlow's contract: what a request may be. A refused one costs no sandbox, and no row."""

import base64
import json
from typing import Any

import pytest
import requests

from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker

CODE = base64.b64encode(b"def main(**arguments): return repr(arguments)").decode()


def send(
    platform: Platform, body: str | bytes, content_type: str | None = "application/json"
) -> requests.Response:
    headers = {"X-Sandbox-Token": TOKEN} | ({"Content-Type": content_type} if content_type else {})
    return requests.post(f"{platform.url}/run", data=body, headers=headers, timeout=60)


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        ({}, ["body", "code_b64"], "missing"),
        ({"code": CODE}, ["body", "code_b64"], "missing"),
        ({"code_b64": None}, ["body", "code_b64"], "string_type"),
        ({"code_b64": 1}, ["body", "code_b64"], "string_type"),
        ({"code_b64": [CODE]}, ["body", "code_b64"], "string_type"),
        ({"code_b64": "x"}, ["body", "code_b64"], "value_error"),  # no padding
        ({"code_b64": CODE + "\n"}, ["body", "code_b64"], "value_error"),
        ({"code_b64": "_-=="}, ["body", "code_b64"], "value_error"),  # the other alphabet
        ({"code_b64": "é"}, ["body", "code_b64"], "value_error"),
        ({"code_b64": CODE, "language": "javascript"}, ["body", "language"], "enum"),
        ({"code_b64": CODE, "language": "Python"}, ["body", "language"], "enum"),
        ({"code_b64": CODE, "language": None}, ["body", "language"], "enum"),
        ({"code_b64": CODE, "language": ""}, ["body", "language"], "enum"),
        ({"code_b64": CODE, "language": ["python"]}, ["body", "language"], "enum"),
        ({"code_b64": CODE, "language": "\ud800"}, ["body", "language"], "enum"),
        ({"code_b64": CODE, "arguments": []}, ["body", "arguments"], "dict_type"),
        ({"code_b64": CODE, "arguments": "{}"}, ["body", "arguments"], "dict_type"),
        ({"code_b64": CODE, "arguments": 0}, ["body", "arguments"], "dict_type"),
        ([], ["body"], "model_attributes_type"),
        ("text", ["body"], "model_attributes_type"),
        (None, ["body"], "model_attributes_type"),
    ],
)
def test_malformed_field_is_named(platform, body: Any, loc: list[str], kind: str):
    answer = send(platform, json.dumps(body))
    assert answer.status_code == 422, answer.text
    (problem,) = answer.json()["detail"]
    assert (problem["loc"], problem["type"]) == (loc, kind)
    assert problem["msg"]
    assert "input" in problem


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"code_b64": }', b'{"code_b64": "\xff"}', b"[" * 5000, b'{"a":' * 5000, b"1" * 5000]
)
def test_body_that_is_no_json_is_refused(platform, body: bytes):
    answer = send(platform, body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["type"] == "json_invalid"


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "json"])
def test_other_content_type_is_refused(platform, content_type: str | None):
    answer = send(platform, json.dumps({"code_b64": CODE}), content_type)
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body"])


def test_content_type_may_name_a_charset(platform):
    answer = send(platform, json.dumps({"code_b64": CODE}), "Application/JSON; charset=utf-8")
    assert answer.json()["status"] == "success"


def test_refused_request_leaves_no_execution(platform):
    before = platform.sql("SELECT count(*) FROM executions_execution")
    send(platform, "{}")
    assert platform.sql("SELECT count(*) FROM executions_execution") == before


def test_request_over_the_size_limit_is_413(platform):
    answer = send(platform, json.dumps({"code_b64": "A" * (33 * 1024**2)}))
    assert (answer.status_code, "bytes" in answer.json()["detail"]) == (413, True)


def test_unknown_fields_are_ignored(platform):
    body = {"code_b64": CODE, "language": "python", "base_image": "evil", "timeout": 1, "max_retries": None}
    assert send(platform, json.dumps(body)).json()["status"] == "success"


@pytest.mark.parametrize("body", [{}, {"arguments": None}, {"arguments": {}}])
def test_arguments_may_be_missing_null_or_empty(platform, body: dict[str, Any]):
    assert send(platform, json.dumps({"code_b64": CODE} | body)).json()["result"]["value"] == "{}"


def test_language_is_python_unless_named(platform):
    answer = send(platform, json.dumps({"code_b64": CODE}))
    assert answer.json()["status"] == "success"
    assert platform.sql(
        "SELECT slug FROM runtimes_runtime WHERE id = %s", platform.last_execution()["runtime_id"]
    ) == [{"slug": "python"}]


def test_nan_reaches_a_python_program(platform):
    answer = send(platform, f'{{"code_b64": "{CODE}", "arguments": {{"a": NaN, "b": -Infinity}}}}')
    assert answer.json()["result"]["value"] == "{'a': nan, 'b': -inf}"


def test_nan_is_null_to_a_javascript_program(platform):
    code = base64.b64encode(b"function main(a) { return JSON.stringify(a); }").decode()
    body = f'{{"code_b64": "{code}", "language": "nodejs", "arguments": {{"a": NaN, "b": 1}}}}'
    assert send(platform, body).json()["result"]["value"] == '{"a":null,"b":1}'


def test_code_that_is_not_utf8_is_422(platform):
    answer = send(platform, json.dumps({"code_b64": base64.b64encode(b"\xff\xfe").decode()}))
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "code_b64"])
