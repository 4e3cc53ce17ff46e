from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from audit.models import RetentionPolicy
from sandbox_platform.kit.generics import ModelAdmin


@admin.register(RetentionPolicy)
class RetentionPolicyAdmin(ModelAdmin[RetentionPolicy]):
    empty_hint = "No policies: everything is kept for ever."
    list_display = ("whose", "code", "output", "artifacts", "record", "redact")
    list_select_related = ("client",)
    fieldsets = (
        (None, {"fields": ("client",)}),
        (
            "Retention",
            {
                "description": "Days are counted from the end of the execution. Only sealed executions are purged, in "
                "recorded batches. To keep metadata only, set the first three to 0 and leave the last one empty.",
                "fields": (
                    "keep_code_days",
                    "keep_output_days",
                    "keep_artifacts_days",
                    "keep_metadata_days",
                ),
            },
        ),
        ("Secrets", {"fields": ("redact",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # A policy cannot move to another client: create a policy for that client instead.
        return ("client",) if obj else ()

    @admin.display(description="Applies to")
    def whose(self, policy: RetentionPolicy) -> str:
        return str(policy.client or "all other clients")

    @admin.display(description="Code and input", ordering="keep_code_days")
    def code(self, policy: RetentionPolicy) -> str:
        return _words(policy.keep_code_days)

    @admin.display(description="Output and result", ordering="keep_output_days")
    def output(self, policy: RetentionPolicy) -> str:
        return _words(policy.keep_output_days)

    @admin.display(description="Artifacts", ordering="keep_artifacts_days")
    def artifacts(self, policy: RetentionPolicy) -> str:
        return _words(policy.keep_artifacts_days)

    @admin.display(description="Record", ordering="keep_metadata_days")
    def record(self, policy: RetentionPolicy) -> str:
        return _words(policy.keep_metadata_days)


def _words(days: int | None) -> str:
    match days:
        case None:
            return "for ever"
        case 0:
            return "until the next purge"
        case _:
            return f"{days} days"
