from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest

from runtimes.forms import RuntimeForm
from runtimes.models import Runtime
from sandbox_platform.generics import ModelAdmin
from sandbox_platform.units import format_bytes, format_ms
from seccomp_profiles import activation


@admin.register(Runtime)
class RuntimeAdmin(ModelAdmin[Runtime]):
    form = RuntimeForm
    list_display = (
        "slug",
        "name",
        "enabled",
        "pool",
        "ready",
        "wall_time",
        "memory",
        "ragflow_policy",
        "profile",
    )
    list_display_links = ("slug", "name")
    list_select_related = ("seccomp_profile",)
    list_filter = ("enabled", "ragflow_code_policy", "seccomp_profile")
    search_fields = ("slug", "name", "image")
    readonly_fields = ("revision", "created_at", "updated_at")
    save_on_top = True
    fieldsets = (
        (None, {"fields": ("slug", "name", "aliases", "enabled")}),
        (
            "What runs",
            {
                "description": "A change reaches the next run; warm sandboxes are replaced.",
                "fields": ("image", "source_file", "environment", "preload", "preload_when_idle"),
            },
        ),
        (
            "Warm sandboxes",
            {
                "description": "The pool follows demand between the two. "
                "An empty pool means a cold start of about half a second, never an error.",
                "fields": (("pool_min", "pool_max"),),
            },
        ),
        ("Time and processor", {"fields": ("wall_time_ms", "cpu_time_ms", "cpus")}),
        (
            "Memory, files and processes",
            {"fields": ("memory_bytes", "workspace_bytes", "tmp_bytes", "processes", "open_files")},
        ),
        (
            "Output",
            {
                "fields": (
                    "output_bytes",
                    "output_action",
                    "result_bytes",
                    "artifact_count",
                    "artifact_bytes",
                )
            },
        ),
        ("Filter inside the guest", {"fields": ("seccomp_profile",)}),
        (
            "Code policy",
            {
                "description": "Rules that look at the program's text before it runs, as RAGFlow's do. "
                "They are a lint: the protection is gVisor.",
                "fields": ("code_policy", "ragflow_code_policy", "disabled_rules"),
            },
        ),
        ("Record", {"fields": ("revision", "created_at", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Runtime]:
        current = Q(sandboxes__state="ready", sandboxes__runtime_revision=F("revision"))
        return super().get_queryset(request).annotate(ready=Count("sandboxes", filter=current))

    def has_delete_permission(self, request: HttpRequest, obj: Runtime | None = None) -> bool:
        # History names its runtime for ever. Also keeps the bulk action away, which asks without an object.
        return obj is not None and not obj.executions.exists() and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Runtime, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "seccomp_profile" in form.changed_data and obj.seccomp_profile:
            for obstacle in activation.obstacles(obj.seccomp_profile.current, [obj]):
                messages.warning(request, f"{obj.seccomp_profile}: {obstacle.message}. Probe it.")

    @admin.display(description="Pool")
    def pool(self, runtime: Runtime) -> str:
        return f"{runtime.pool_min} to {runtime.pool_max}"

    @admin.display(description="Ready now", ordering="ready")
    def ready(self, runtime: Any) -> int:
        ready: int = runtime.ready
        return ready

    @admin.display(description="Wall time", ordering="wall_time_ms")
    def wall_time(self, runtime: Runtime) -> str:
        return format_ms(runtime.wall_time_ms)

    @admin.display(description="Memory", ordering="memory_bytes")
    def memory(self, runtime: Runtime) -> str:
        return format_bytes(runtime.memory_bytes)

    @admin.display(description="On RAGFlow's code", ordering="ragflow_code_policy")
    def ragflow_policy(self, runtime: Runtime) -> str:
        return str(runtime.ragflow_code_policy)

    @admin.display(description="Seccomp", ordering="seccomp_profile__name", empty_value="unconfined")
    def profile(self, runtime: Runtime) -> str | None:
        return runtime.seccomp_profile.name if runtime.seccomp_profile else None
