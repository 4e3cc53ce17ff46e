"""A client of the API that holds every answer against the served OpenAPI schema.

An answer must have a status, a media type and a body that the schema of its operation describes. The schema is
taken literally: a field that it does not declare is an error, too.
"""

import json
import re
from functools import cache
from typing import Any

import jsonschema
from rest_framework.test import APIClient

# What the framework answers for any address: a method that it does not have, a path that is none.
EVERYWHERE = {(404, "application/problem+json"), (405, "application/problem+json")}
JSON = ("application/json", "application/problem+json")


@cache
def served() -> dict[str, Any]:
    document = json.loads(APIClient().get("/openapi.json").content)
    close(document)
    return document


def close(node: Any) -> None:
    """Objects with declared properties have no others."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        close(child)
    if isinstance(node, dict) and isinstance(node.get("properties"), dict) and node.get("type") == "object":
        node.setdefault("additionalProperties", False)


@cache
def routes() -> list[tuple[re.Pattern[str], str]]:
    """Literal paths before those with parameters."""
    paths = sorted(served()["paths"], key=lambda path: path.count("{"))
    return [
        (re.compile(re.sub(r"\{[^}]+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))), path)
        for path in paths
    ]


def operation(method: str, path: str) -> dict[str, Any] | None:
    found = next((template for pattern, template in routes() if pattern.fullmatch(path)), None)
    return served()["paths"][found].get(method.lower()) if found else None


def check(method: str, path: str, response: Any) -> None:
    described = operation(method, path)
    media = response.headers.get("Content-Type", "").partition(";")[0]
    if described is None or (response.status_code, media) in EVERYWHERE:
        return
    answers = described["responses"]
    assert str(response.status_code) in answers, (
        f"{method} {path} answers {response.status_code}: {response.content}"
    )
    kinds = answers[str(response.status_code)].get("content", {})
    assert not kinds or media in kinds or "*/*" in kinds, (
        f"{method} {path} answers with {media}, not {', '.join(kinds)}"
    )
    if media in JSON and media in kinds:
        schema = {"components": served()["components"], "allOf": [kinds[media]["schema"]]}
        validator = jsonschema.Draft202012Validator(schema)
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(response.json())]
        assert not errors, f"{method} {path} answers {response.status_code}: {'; '.join(errors)}"


class ConformingClient(APIClient):
    def request(self, **wanted: Any) -> Any:
        response = super().request(**wanted)
        check(wanted["REQUEST_METHOD"], wanted["PATH_INFO"], response)
        return response
