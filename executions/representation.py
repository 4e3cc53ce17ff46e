"""An execution as JSON, with its OpenAPI schema. The API, the exports and the console use it."""

import json
from collections.abc import Iterable
from dataclasses import MISSING, fields
from functools import partial
from types import SimpleNamespace
from typing import Any

from django.db.models import BigIntegerField, Count, Q, Sum
from django.db.models.functions import Coalesce
from rest_framework import serializers

from executions.models import Execution, InputFile, Mode, Outcome, Status
from executions.sources import Callback, RefusedCalls, callback_of, refused_calls
from executions.verdict import MAX_NESTING, nested_deeper_than
from redaction import services as redaction
from runtimes.models import Limits, Network, OutputAction
from sandbox_platform.kit import disclosures
from sandbox_platform.kit.schemas import AnyJson, Schema, Stored, Texts, computed
from seccomp_profiles.models import UNCONFINED


def json_value(text: str | None) -> Any:
    """Parse stored JSON text for a response. NaN becomes None; a value that nests too deeply stays text."""
    if text is None:
        return None
    try:
        value = json.loads(text, parse_constant=lambda _name: None)
    except RecursionError:
        return text
    return text if nested_deeper_than(MAX_NESTING, value) else value


def timing_headers(execution: Execution) -> dict[str, str]:
    """Return headers with the execution's id, its phases in milliseconds and warm or cold, for external benchmarks."""
    timing = ", ".join(f"{name};dur={ms:.1f}" for name, ms in execution.phases_ms().items())
    temperature = "" if execution.warm is None else ("warm" if execution.warm else "cold")
    headers = {"X-Execution-Id": str(execution.pk), "Server-Timing": timing, "X-Sandbox-Pool": temperature}
    return {name: value for name, value in headers.items() if value}


class LimitsSchema(Stored):
    def get_fields(self) -> Any:
        kinds: dict[str, Any] = {
            "cpus": serializers.FloatField,
            "output_action": partial(serializers.ChoiceField, OutputAction.choices),
        }
        # A limit with a default was added in a later release: older executions lack it.
        return {
            limit.name: kinds.get(limit.name, serializers.IntegerField)(required=limit.default is MISSING)
            for limit in fields(Limits)
        }


class ViolationSchema(Stored):
    rule = serializers.CharField()
    line = serializers.IntegerField(allow_null=True)
    message = serializers.CharField()


class EgressRuleSchema(Stored):
    domain = serializers.CharField(help_text="With a leading dot: the domain and its subdomains.")
    runtime = serializers.CharField(allow_null=True, help_text="Null: the rule applies to every runtime.")
    client = serializers.CharField(allow_null=True, help_text="Null: the rule applies to every client.")


class FileSchema(Schema):
    path = serializers.CharField()
    size = serializers.IntegerField()


class RefusedCallSchema(Stored):
    name = serializers.CharField()
    times = serializers.IntegerField()


class RefusedCallsSchema(Schema):
    state = serializers.CharField(help_text="queued, running, done, failed or cancelled.")
    traced_at = serializers.DateTimeField(allow_null=True)
    summary = serializers.CharField(allow_null=True)
    refused = RefusedCallSchema(many=True, allow_null=True)


class CallbackSchema(Schema):
    status = serializers.CharField(help_text="pending, delivered, failed or given_up.")
    attempts = serializers.IntegerField()
    status_code = serializers.IntegerField(allow_null=True, help_text="Of the last answer.")
    error = serializers.CharField(help_text="Of the last attempt, or why it was given up. Empty: none.")
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class EgressSchema(Schema):
    requests = serializers.IntegerField(help_text="GET …/requests lists them.")
    refused = serializers.IntegerField()
    cut = serializers.IntegerField(help_text="Requests that ended because the run had used up its bytes.")
    bytes_sent = serializers.IntegerField(help_text="Of requests that have ended.")
    bytes_received = serializers.IntegerField(help_text="Of requests that have ended.")


def _files(execution: Execution) -> Iterable[InputFile]:
    if not execution.input_count:
        return []
    files = list(execution.input_files.extra(select={"size": "octet_length(content)"}).defer("content"))
    for file, path in zip(files, redaction.shown_names(execution, [file.path for file in files]), strict=True):
        file.path = path
    return files


def _refused_calls(execution: Execution) -> RefusedCalls | None:
    return None if execution.profile_name in ("", UNCONFINED) else refused_calls(execution)


def _callback(execution: Execution) -> Callback | None:
    return callback_of(execution) if execution.callback_url else None


def _egress(execution: Execution) -> SimpleNamespace | None:
    """Return the sums of the requests, or None if the run had no egress."""
    if execution.network == Network.NONE:
        return None
    sums = execution.egress_requests.order_by().aggregate(
        requests=Count("pk"),
        refused=Count("pk", filter=Q(allowed=False)),
        cut=Count("pk", filter=Q(cut=True)),
        bytes_sent=Coalesce(Sum("bytes_sent"), 0, output_field=BigIntegerField()),
        bytes_received=Coalesce(Sum("bytes_received"), 0, output_field=BigIntegerField()),
    )
    return SimpleNamespace(**sums)


class _Small(Schema):
    # Fields of bounded size, which lists show by default.
    id = serializers.UUIDField()
    status = serializers.ChoiceField(Status.choices)
    outcome = serializers.ChoiceField(
        [("", "Not ended"), *Outcome.choices], help_text="Why the execution has its final status."
    )
    message = serializers.CharField(help_text="One sentence about the outcome, for people.")
    client = serializers.CharField(
        allow_null=True, help_text="Name of the client; null: submitted without a token.", source="client.name"
    )
    runtime = serializers.CharField(source="runtime.slug")
    mode = serializers.ChoiceField(Mode.choices)
    endpoint = serializers.CharField(help_text="Endpoint that accepted the execution.")
    labels = Texts()
    exit_code = serializers.IntegerField(allow_null=True)
    signal = serializers.IntegerField(allow_null=True)
    stdout_truncated = serializers.BooleanField()
    stderr_truncated = serializers.BooleanField()
    artifact_count = serializers.IntegerField()
    input_count = serializers.IntegerField(help_text="Number of files sent with the program.")
    source_file = serializers.CharField(help_text="Path of the program in /workspace.")
    code_sha256 = serializers.CharField(help_text="Empty: redaction changed the code, or may change it.")
    queued_at = serializers.DateTimeField()
    started = serializers.BooleanField(
        allow_null=True,
        source="may_have_started",
        help_text="Whether the program may have started; null while a worker has the execution. False at the end: it "
        "never ran.",
    )
    requeues = serializers.IntegerField(
        help_text="Number of times the execution was queued again after a fault of the platform, before its program "
        "started."
    )
    claimed_at = serializers.DateTimeField(allow_null=True)
    sandbox_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    cancel_requested_at = serializers.DateTimeField(allow_null=True)
    duration_ms = serializers.FloatField(
        allow_null=True, help_text="Time from sending the job to its end.", source="run_ms"
    )
    cpu_ms = serializers.IntegerField(allow_null=True)
    peak_memory_bytes = serializers.IntegerField(allow_null=True)
    warm = serializers.BooleanField(
        allow_null=True,
        help_text="Whether the run got a warm sandbox, and an interpreter that had started before.",
    )
    request_id = serializers.CharField(
        help_text="`X-Request-Id` of the request that submitted it, by which the services' logs name it, too."
    )
    batch_id = serializers.UUIDField(allow_null=True)
    rerun_of = serializers.UUIDField(allow_null=True)
    pinned = serializers.BooleanField(help_text="Whether it is a rerun on the recorded image, profile and limits.")
    image_id = serializers.CharField()
    runtime_revision = serializers.IntegerField()
    profile_name = serializers.CharField()
    profile_revision = serializers.IntegerField(allow_null=True, help_text="Null: no profile.")
    profile_sha256 = serializers.CharField()
    network = serializers.ChoiceField(Network.choices)
    limits = LimitsSchema()
    runsc_version = serializers.CharField()
    engine = serializers.CharField(help_text="`docker` or `direct`; empty: unknown, or the run had no sandbox.")
    node = serializers.CharField()
    sandbox_id = serializers.CharField()


class _Listed(_Small):
    # Adds fields of up to megabytes each, which lists show only on request.
    code = serializers.CharField()
    arguments = computed(AnyJson(), lambda execution: json_value(execution.arguments))
    stdin = serializers.CharField()
    argv = serializers.ListField(child=serializers.CharField())
    environment = Texts(help_text="Environment variables that the caller set.", source="variables")
    runtime_environment = Texts(help_text="Environment variables of the runtime.", source="environment")
    stdout = serializers.CharField()
    stderr = serializers.CharField()
    result = computed(AnyJson(help_text="Return value of main()."), lambda execution: json_value(execution.result))
    policy_violations = ViolationSchema(many=True)
    egress_rules = EgressRuleSchema(many=True, help_text="The allow-list when the run began.")


class ListedExecutionSchema(_Listed):
    """The fields named in `fields`. Default: all except the large ones."""

    def get_fields(self) -> Any:
        fields = super().get_fields()
        for field in fields.values():
            field.required = False
        return fields


class ExecutionSchema(_Listed):
    files = computed(FileSchema(many=True), _files)
    refused_calls = computed(
        RefusedCallsSchema(
            allow_null=True, help_text="System calls that the seccomp profile refused; null: not traced."
        ),
        _refused_calls,
    )
    callback = computed(
        CallbackSchema(allow_null=True, help_text="Null: none was asked for, or the execution has not ended."),
        _callback,
    )
    egress = computed(EgressSchema(allow_null=True, help_text="Null: the run had no egress."), _egress)


SMALL = tuple(_Small.getters)
LISTED = _Listed.getters
# Name of a large field → its column.
LARGE = {name: _Listed._declared_fields[name].source or name for name in LISTED if name not in _Small.getters}


def note_secrets(execution: Execution, http: Any) -> None:
    """Record that the request's user is shown the environment of the execution's runtime, if it has one."""
    if execution.environment:
        disclosures.shown(
            f"environment of runtime {execution.runtime}", execution.runtime_id, http=http, often=True
        )


def detail(execution: Execution, http: Any) -> dict[str, Any]:
    """Return all fields, for the user of the request."""
    note_secrets(execution, http)
    values: dict[str, Any] = ExecutionSchema.dump(redaction.shown(execution))
    return values


def listed(execution: Execution, fields: Iterable[str]) -> dict[str, Any]:
    execution = redaction.shown(execution)
    return {name: LISTED[name](execution) for name in fields}


def unneeded_columns(fields: Iterable[str]) -> list[str]:
    """Return the large columns that a list with these fields need not read."""
    wanted = set(fields)
    return [column for name, column in LARGE.items() if name not in wanted]


def large_columns(fields: Iterable[str]) -> list[str]:
    """Return the large columns that a list with these fields reads."""
    return [LARGE[name] for name in fields if name in LARGE]
