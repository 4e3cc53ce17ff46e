"""An execution as every door shows it: the API's answers with their OpenAPI schema, exports and the console."""

import json
from collections.abc import Iterable
from dataclasses import MISSING, fields
from functools import partial
from typing import Any

from rest_framework import serializers

from executions.models import Execution, InputFile, Mode, Outcome, Status
from executions.sources import RefusedCalls, refused_calls
from executions.verdict import MAX_NESTING, nested_deeper_than
from runtimes.models import Limits, Network, OutputAction
from sandbox_platform.kit.schemas import AnyJson, Schema, Stored, Texts, computed
from seccomp_profiles.models import UNCONFINED


def json_value(text: str | None) -> Any:
    """Parse stored JSON text into what an answer can hold: NaN is null; what nests too deeply stays the text."""
    if text is None:
        return None
    try:
        value = json.loads(text, parse_constant=lambda _name: None)
    except RecursionError:
        return text
    return text if nested_deeper_than(MAX_NESTING, value) else value


class LimitsSchema(Stored):
    def get_fields(self) -> Any:
        kinds: dict[str, Any] = {
            "cpus": serializers.FloatField,
            "output_action": partial(serializers.ChoiceField, OutputAction.choices),
        }
        # Limits with a default were added later: an execution from before has none of them.
        return {
            limit.name: kinds.get(limit.name, serializers.IntegerField)(required=limit.default is MISSING)
            for limit in fields(Limits)
        }


class ViolationSchema(Stored):
    rule = serializers.CharField()
    line = serializers.IntegerField(allow_null=True)
    message = serializers.CharField()


class EgressRuleSchema(Stored):
    domain = serializers.CharField(help_text="With a leading dot: and all below it.")
    runtime = serializers.CharField(allow_null=True, help_text="Null: of every runtime.")
    client = serializers.CharField(allow_null=True, help_text="Null: of every client.")


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


class EgressSchema(Schema):
    # Of a list: for each request of the program, whether it was allowed.
    requests = computed(serializers.IntegerField(help_text="GET …/requests lists them."), len)
    refused = computed(serializers.IntegerField(), lambda allowed: allowed.count(False))


def _files(execution: Execution) -> Iterable[InputFile]:
    if not execution.input_count:
        return []
    return execution.input_files.extra(select={"size": "octet_length(content)"}).defer("content")


def _refused_calls(execution: Execution) -> RefusedCalls | None:
    return None if execution.profile_name in ("", UNCONFINED) else refused_calls(execution)


def _egress(execution: Execution) -> list[bool] | None:
    """None where the program could make no request."""
    if execution.network == Network.NONE:
        return None
    return list(execution.egress_requests.values_list("allowed", flat=True))


class _Small(Schema):
    # Fields of a bounded size: what a list shows.
    id = serializers.UUIDField()
    status = serializers.ChoiceField(Status.choices)
    outcome = serializers.ChoiceField([("", "Not ended yet"), *Outcome.choices], help_text="Why it ended so.")
    message = serializers.CharField(help_text="What the platform has to say about the outcome.")
    client = serializers.CharField(
        allow_null=True, help_text="Whose it is; null: it came without a token.", source="client.name"
    )
    runtime = serializers.CharField(source="runtime.slug")
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
    duration_ms = serializers.FloatField(
        allow_null=True, help_text="From handing over the job to its end.", source="run_ms"
    )
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


class _Listed(_Small):
    # Also those of up to megabytes each, which a list shows when they are asked for.
    code = serializers.CharField()
    arguments = computed(AnyJson(), lambda execution: json_value(execution.arguments))
    stdin = serializers.CharField()
    argv = serializers.ListField(child=serializers.CharField())
    environment = Texts(help_text="Of this execution.", source="variables")
    runtime_environment = Texts(help_text="Of its runtime.", source="environment")
    stdout = serializers.CharField()
    stderr = serializers.CharField()
    result = computed(AnyJson(help_text="What main() returned."), lambda execution: json_value(execution.result))
    policy_violations = ViolationSchema(many=True)
    egress_rules = EgressRuleSchema(many=True, help_text="The allow-list that applied when it began.")


class ListedExecutionSchema(_Listed):
    """What `fields` asks for; without it, all but the large ones."""

    def get_fields(self) -> Any:
        fields = super().get_fields()
        for field in fields.values():
            field.required = False
        return fields


class ExecutionSchema(_Listed):
    files = computed(FileSchema(many=True), _files)
    refused_calls = computed(
        RefusedCallsSchema(allow_null=True, help_text="By its seccomp profile; null: nobody asked."),
        _refused_calls,
    )
    egress = computed(EgressSchema(allow_null=True, help_text="Null: it could make no request."), _egress)


SMALL = tuple(_Small.getters)
LISTED = _Listed.getters
# By the column that holds them.
LARGE = {name: _Listed._declared_fields[name].source or name for name in LISTED if name not in _Small.getters}

detail = ExecutionSchema.dump


def listed(execution: Execution, fields: Iterable[str]) -> dict[str, Any]:
    return {name: LISTED[name](execution) for name in fields}


def unneeded_columns(fields: Iterable[str]) -> list[str]:
    """Large ones, not to be read for a list that does not show them."""
    wanted = set(fields)
    return [column for name, column in LARGE.items() if name not in wanted]
