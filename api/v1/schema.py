"""The shape of the answers, for the OpenAPI schema only: representation.py makes them."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema_field
from rest_framework import serializers

from api.v1.problems import MEDIA_TYPE
from executions.egress.models import Refusal
from executions.models import Mode, Outcome, Status
from runtimes.models import CodePolicy, Limits, Network, OutputAction, Runner
from runtimes.validators import MODES

ANY = {"type": ["object", "array", "string", "number", "boolean"], "description": "Any JSON value."}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "clients.auth.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> Any:
        return {"type": "http", "scheme": "bearer", "description": "A client's API token."}


@extend_schema_field(ANY)
class AnyJson(serializers.JSONField):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_null": True} | options)


@extend_schema_field(TEXTS)
class Texts(serializers.JSONField):
    pass


class LimitsSchema(serializers.Serializer):  # type: ignore[type-arg]
    def get_fields(self) -> Any:
        fields: dict[str, Any] = {name: serializers.IntegerField() for name in Limits.__dataclass_fields__}
        return fields | {
            "cpus": serializers.FloatField(),
            "output_action": serializers.ChoiceField(OutputAction.choices),
        }


class ViolationSchema(serializers.Serializer):  # type: ignore[type-arg]
    rule = serializers.CharField()
    line = serializers.IntegerField(allow_null=True)
    message = serializers.CharField()


class FileSchema(serializers.Serializer):  # type: ignore[type-arg]
    path = serializers.CharField()
    size = serializers.IntegerField()


class ArtifactSchema(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField()
    size = serializers.IntegerField()
    content_type = serializers.CharField()
    url = serializers.CharField()


class RefusedCallSchema(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField()
    times = serializers.IntegerField()


class RefusedCallsSchema(serializers.Serializer):  # type: ignore[type-arg]
    state = serializers.CharField(help_text="queued, running, done, failed or cancelled.")
    traced_at = serializers.DateTimeField(allow_null=True)
    summary = serializers.CharField(allow_null=True)
    refused = RefusedCallSchema(many=True, allow_null=True)


class EgressSchema(serializers.Serializer):  # type: ignore[type-arg]
    requests = serializers.IntegerField(help_text="GET …/requests lists them.")
    refused = serializers.IntegerField()


class EgressRuleSchema(serializers.Serializer):  # type: ignore[type-arg]
    domain = serializers.CharField(help_text="With a leading dot: and all below it.")
    runtime = serializers.CharField(allow_null=True, help_text="Null: of every runtime.")
    client = serializers.CharField(allow_null=True, help_text="Null: of every client.")


class EgressRequestSchema(serializers.Serializer):  # type: ignore[type-arg]
    at = serializers.DateTimeField()
    method = serializers.CharField(help_text="CONNECT: a tunnel, of which no more is known than its size.")
    host = serializers.CharField()
    port = serializers.IntegerField()
    allowed = serializers.BooleanField()
    reason = serializers.ChoiceField([("", "Allowed"), *Refusal.choices], help_text="Why it was refused.")
    ended_at = serializers.DateTimeField(allow_null=True)
    status = serializers.IntegerField(allow_null=True, help_text="HTTP status that the program was given.")
    address = serializers.CharField(allow_null=True, help_text="What was connected to.")
    bytes_sent = serializers.IntegerField(allow_null=True)
    bytes_received = serializers.IntegerField(allow_null=True)


class ExecutionSchema(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    status = serializers.ChoiceField(Status.choices)
    outcome = serializers.ChoiceField([("", "Not ended yet"), *Outcome.choices], help_text="Why it ended so.")
    message = serializers.CharField(help_text="What the platform has to say about the outcome.")
    client = serializers.CharField(allow_null=True, help_text="Whose it is; null: it came without a token.")
    runtime = serializers.CharField()
    mode = serializers.ChoiceField(Mode.choices)
    endpoint = serializers.CharField(help_text="Where it came in.")
    labels = Texts()
    exit_code = serializers.IntegerField(allow_null=True)
    signal = serializers.IntegerField(allow_null=True)
    stdout_truncated = serializers.BooleanField()
    stderr_truncated = serializers.BooleanField()
    artifact_count = serializers.IntegerField()
    input_count = serializers.IntegerField(help_text="Files given beside the program.")
    source_file = serializers.CharField(help_text="Where in /workspace the program is.")
    code_sha256 = serializers.CharField()
    queued_at = serializers.DateTimeField()
    claimed_at = serializers.DateTimeField(allow_null=True)
    sandbox_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    cancel_requested_at = serializers.DateTimeField(allow_null=True)
    duration_ms = serializers.FloatField(allow_null=True, help_text="From handing over the job to its end.")
    cpu_ms = serializers.IntegerField(allow_null=True)
    peak_memory_bytes = serializers.IntegerField(allow_null=True)
    warm = serializers.BooleanField(allow_null=True)
    batch_id = serializers.UUIDField(allow_null=True)
    rerun_of = serializers.UUIDField(allow_null=True)
    pinned = serializers.BooleanField(help_text="A rerun on the image, profile and limits of then.")
    image_id = serializers.CharField()
    runtime_revision = serializers.IntegerField()
    profile_name = serializers.CharField()
    profile_revision = serializers.IntegerField(allow_null=True, help_text="Null: no profile.")
    profile_sha256 = serializers.CharField()
    network = serializers.ChoiceField(Network.choices)
    limits = LimitsSchema()
    runsc_version = serializers.CharField()
    node = serializers.CharField()
    sandbox_id = serializers.CharField()
    code = serializers.CharField()
    arguments = AnyJson()
    stdin = serializers.CharField()
    argv = serializers.ListField(child=serializers.CharField())
    environment = Texts(help_text="Of this execution.")
    runtime_environment = Texts(help_text="Of its runtime.")
    stdout = serializers.CharField()
    stderr = serializers.CharField()
    result = AnyJson(help_text="What main() returned.")
    policy_violations = ViolationSchema(many=True)
    egress_rules = EgressRuleSchema(many=True, help_text="The allow-list that applied when it began.")
    files = FileSchema(many=True)
    refused_calls = RefusedCallsSchema(allow_null=True, help_text="By its seccomp profile; null: nobody asked.")
    egress = EgressSchema(allow_null=True, help_text="Null: it could make no request.")


class ListedExecutionSchema(ExecutionSchema):
    """What `fields` asks for; without it, all but the large ones."""

    def get_fields(self) -> Any:
        fields = super().get_fields()
        del fields["files"], fields["refused_calls"], fields["egress"]
        for field in fields.values():
            field.required = False
        return fields


class PageSchema(serializers.Serializer):  # type: ignore[type-arg]
    next = serializers.CharField(allow_null=True, help_text="Path of the next page; null on the last one.")
    results = ListedExecutionSchema(many=True)


class BatchSchema(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    finished = serializers.BooleanField()
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Executions of each status.")
    executions = ListedExecutionSchema(many=True)


class EventSchema(serializers.Serializer):  # type: ignore[type-arg]
    """One event of the stream."""

    id = serializers.CharField(help_text="Where one is after it: for Last-Event-ID.")
    event = serializers.ChoiceField(["status", "stdout", "stderr", "end"])
    data = serializers.CharField(  # type: ignore[assignment]
        help_text="A JSON object: see docs/events.md."
    )


class DifferenceSchema(serializers.Serializer):  # type: ignore[type-arg]
    field = serializers.CharField()
    then = AnyJson()
    now = AnyJson()


class RerunSchema(serializers.Serializer):  # type: ignore[type-arg]
    execution = ExecutionSchema()
    differences = DifferenceSchema(many=True)


class RuntimeSchema(serializers.Serializer):  # type: ignore[type-arg]
    slug = serializers.CharField()
    name = serializers.CharField()
    aliases = serializers.ListField(child=serializers.CharField())
    enabled = serializers.BooleanField()
    image = serializers.CharField()
    live_image = serializers.CharField(help_text="What runs: the live build's, or the image itself.")
    source_file = serializers.CharField()
    runner = serializers.ChoiceField(Runner.choices)
    modes = serializers.ListField(child=serializers.ChoiceField(MODES))
    compile_command = serializers.CharField()
    run_command = serializers.CharField()
    function_command = serializers.CharField()
    packages = AnyJson()
    preload = serializers.ListField(child=serializers.CharField())
    preload_when_idle = serializers.ListField(child=serializers.CharField())
    revision = serializers.IntegerField()
    code_policy = serializers.ChoiceField(CodePolicy.choices)
    ragflow_code_policy = serializers.ChoiceField(CodePolicy.choices)
    disabled_rules = serializers.ListField(child=serializers.CharField())
    pool_min = serializers.IntegerField()
    pool_max = serializers.IntegerField()
    network = serializers.ChoiceField(Network.choices)
    seccomp_profile = serializers.CharField()
    environment = Texts()
    limits = LimitsSchema()


class ManifestDifferenceSchema(serializers.Serializer):  # type: ignore[type-arg]
    field = serializers.CharField()
    row = AnyJson()
    manifest = AnyJson()


class ManifestSchema(serializers.Serializer):  # type: ignore[type-arg]
    has_manifest = serializers.BooleanField()
    differences = ManifestDifferenceSchema(many=True)
    smoke = AnyJson(help_text="The smoke programs of the row.")


class PercentilesSchema(serializers.Serializer):  # type: ignore[type-arg]
    p50 = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True)


class StatsSchema(serializers.Serializer):  # type: ignore[type-arg]
    since = serializers.DateTimeField()
    total = serializers.IntegerField()
    statuses = serializers.DictField(child=serializers.IntegerField())
    run_ms = PercentilesSchema()
    queue_ms = PercentilesSchema()
    total_ms = PercentilesSchema()
    cpu_ms = PercentilesSchema()
    peak_memory_bytes = PercentilesSchema()


class ProblemSchema(serializers.Serializer):  # type: ignore[type-arg]
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    field = serializers.CharField(allow_null=True, help_text="Which field, parameter or header is wrong.")
    remedy = serializers.CharField(allow_null=True, help_text="What to do about it.")


WORDS = {
    400: "Not JSON, or otherwise malformed.",
    401: "The token is missing or wrong.",
    403: "This client may not.",
    404: "There is no such thing, or it is another client's.",
    409: "It conflicts with what is there.",
    413: "Too large.",
    415: "Not a media type this endpoint takes.",
    422: "A field is wrong: which, and what to do.",
    429: "More than this client may have: see Retry-After.",
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
        "detail": "60000 is above the cap of the runtime python: wall_time_ms is at most 10000.",
        "field": "limits.wall_time_ms",
        "remedy": "Ask for at most 10000, or leave it out.",
    },
    response_only=True,
    status_codes=["422"],
)


def answers(success: dict[Any, Any], *problems: int) -> dict[Any, Any]:
    """What an endpoint answers: `success`, these problems, and those of every endpoint."""
    failures = {
        (status, MEDIA_TYPE): OpenApiResponse(ProblemSchema, WORDS[status], examples=[PROBLEM_EXAMPLE])
        for status in sorted({401, 503, *problems})
    }
    return {**success, **failures}


# The web server's own, before any of our code.
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
