"""Parts of the OpenAPI schema beside forms and responses: problems, examples, authentication."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from api.v1.problems import MEDIA_TYPE, ProblemSchema


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "clients.auth.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> Any:
        return {"type": "http", "scheme": "bearer", "description": "A client's API token."}


STATUS_DESCRIPTIONS = {
    400: "The request is malformed: not JSON, for instance.",
    401: "The token is missing or wrong.",
    403: "The client has no permission.",
    404: "Not found, or it belongs to another client.",
    409: "The request conflicts with the present state.",
    413: "The request is too large.",
    415: "The endpoint does not accept this media type.",
    422: "A field is invalid: `field` names it, `remedy` says how to correct it.",
    429: "The client's quota is used up: see Retry-After.",
    503: "No client is configured, or no worker answers.",
}
BODY = (400, 413, 415, 422)
RUN = (403, 429)
PROBLEM_EXAMPLE = OpenApiExample(
    "Above a cap",
    value={
        "type": "urn:sandbox-platform:problem:invalid",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "wall_time_ms is above the limit of the runtime python, which is 10000.",
        "field": "limits.wall_time_ms",
        "remedy": "Request at most 10000, or leave the field out.",
    },
    response_only=True,
    status_codes=["422"],
)


def answers(success: dict[Any, Any], *problems: int) -> dict[Any, Any]:
    """Return an endpoint's responses: `success`, the given problems, and those of every endpoint (401, 503)."""
    failures = {
        (status, MEDIA_TYPE): OpenApiResponse(
            ProblemSchema, STATUS_DESCRIPTIONS[status], examples=[PROBLEM_EXAMPLE]
        )
        for status in sorted({401, 503, *problems})
    }
    return {**success, **failures}


# Sent by the web server, before the request reaches Django.
LONG_QUERY: dict[Any, Any] = {
    (414, "text/html"): OpenApiResponse(OpenApiTypes.STR, "The request line is longer than 8190 bytes.")
}
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    OpenApiParameter.HEADER,
    description="A repeat with the same key and body returns the first execution.",
)
EXAMPLES = [
    OpenApiExample(
        "A script",
        value={"runtime": "python", "code": "print(input()[::-1])", "stdin": "stressed", "wait": 10},
        request_only=True,
        media_type="application/json",
    ),
    OpenApiExample(
        "A function",
        value={
            "runtime": "python",
            "mode": "function",
            "code": "def main(a, b):\n    return a + b",
            "arguments": {"a": 1, "b": 2},
            "labels": {"canvas": "demo"},
            "wait": 10,
        },
        request_only=True,
        media_type="application/json",
    ),
    OpenApiExample(
        "Several files and a lower limit",
        value={
            "runtime": "python",
            "entry": "app/main.py",
            "files": [
                {"path": "app/main.py", "content": "from app.greet import hello\nprint(hello())"},
                {"path": "app/greet.py", "content": "def hello():\n    return open('data.txt').read()"},
                {"path": "data.txt", "content_base64": "aGVsbG8="},
            ],
            "limits": {"wall_time_ms": 2000},
            "wait": 10,
        },
        request_only=True,
        media_type="application/json",
    ),
]
