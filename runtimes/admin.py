from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runtimes import manifests, resets
from runtimes.forms import RuntimeForm
from runtimes.models import Runtime
from runtimes.sources import live_build as build_of
from runtimes.tabs import tabs
from sandbox_platform.kit import disclosures
from sandbox_platform.kit.generics import ModelAdmin
from sandbox_platform.kit.units import format_bytes, format_ms
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
    actions = ("reset_to_manifest",)
    readonly_fields = ("live_build", "revision", "created_at", "updated_at")
    save_on_top = True
    fieldsets = (
        (None, {"fields": ("slug", "name", "aliases", "enabled")}),
        (
            "Image and program",
            {
                "description": "A change takes effect with the next run. Warm sandboxes are replaced.",
                "fields": ("image", "live_build", "source_file", "environment", "packages"),
            },
        ),
        (
            "Runner and commands",
            {
                "description": "A native runner takes no commands. It can load modules in advance.",
                "fields": (
                    "runner",
                    "modes",
                    "compile_command",
                    "run_command",
                    "function_command",
                    "preload",
                    "preload_when_idle",
                ),
            },
        ),
        (
            "Warm sandboxes",
            {
                "description": "The size of the pool follows demand between minimum and maximum. "
                "If the pool is empty, a run gets a cold start of about half a second, never an error.",
                "fields": ("pool_min", "pool_max"),
            },
        ),
        (
            "Time and processor",
            {"fields": ("wall_time_ms", "cpu_time_ms", "compile_wall_ms", "compile_cpu_ms", "cpus")},
        ),
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
        ("Seccomp filter inside the guest", {"fields": ("seccomp_profile",)}),
        ("Network", {"fields": ("network",)}),
        (
            "Code policy",
            {
                "description": "Rules that check the program's text before it runs, like RAGFlow's. "
                "They are a lint. The barrier is gVisor.",
                "fields": ("code_policy", "ragflow_code_policy", "disabled_rules"),
            },
        ),
        ("Smoke programs", {"fields": ("smoke",)}),
        ("Record", {"fields": ("revision", "created_at", "updated_at")}),
    )

    class Media:
        js = ("runtimes/tabs.js",)
        css = {"all": ("runtimes/tabs.css",)}

    def get_readonly_fields(self, request: HttpRequest, obj: Runtime | None = None) -> Any:
        # The image decides which packages there are: builds install them, and set the list.
        return (*self.readonly_fields, *(("packages",) if obj else ()))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Runtime]:
        current = Q(sandboxes__state="ready", sandboxes__runtime_revision=F("revision"))
        return super().get_queryset(request).annotate(ready=Count("sandboxes", filter=current))

    def get_urls(self) -> list[URLPattern]:
        def reset(request: HttpRequest, runtime_id: int) -> HttpResponse:
            return resets.reset(request, self, runtime_id)

        wrapped = self.admin_site.admin_view(reset)
        return [path("<int:runtime_id>/reset/", wrapped, name="runtimes_runtime_reset"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **options: Any) -> Any:
        adminform = context["adminform"]
        context["tabs"] = tabs(adminform, adminform.form.errors)
        if runtime := options.get("obj"):
            # A form that was refused has put its values into the object: show what is stored.
            runtime = self.get_queryset(request).get(pk=runtime.pk) if adminform.form.errors else runtime
            context |= {"original": runtime, "subtitle": str(runtime)}
            if runtime.environment:
                disclosures.shown(f"environment of runtime {runtime}", runtime.pk, http=request, often=True)
            context |= {
                "comparison": resets.compare(runtime),
                "live_build": build_of(runtime),
                "may_build": request.user.has_perm("builds.add_runtimebuild"),
                "may_roll_back": request.user.has_perm("builds.change_runtimebuild"),
                "may_run": request.user.has_perm("executions.run_execution"),
            }
        return super().render_change_form(request, context, *args, **options)

    def has_delete_permission(self, request: HttpRequest, obj: Runtime | None = None) -> bool:
        # Executions keep their runtime for ever. Without an object, the answer is no, which hides the bulk action.
        return obj is not None and not obj.executions.exists() and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Runtime, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "seccomp_profile" in form.changed_data and obj.seccomp_profile:
            for proof in activation.obstacles(obj.seccomp_profile.current, [obj]):
                messages.warning(request, f"{obj.seccomp_profile}: {proof.obstacle}. Probe it.")

    @admin.action(description="Reset to the manifest", permissions=["change"])
    def reset_to_manifest(self, request: HttpRequest, queryset: QuerySet[Runtime]) -> None:
        for runtime in queryset:
            try:
                self.message_user(request, manifests.reset_one(runtime), messages.SUCCESS)
            except FileNotFoundError:
                self.message_user(request, f"runtime {runtime.slug}: has no manifest", messages.WARNING)
            except manifests.ManifestError as e:
                self.message_user(request, str(e), messages.ERROR)

    @admin.display(description="Build")
    def live_build(self, runtime: Runtime) -> SafeString:
        if not runtime.pk:
            return SafeString(
                "Save the runtime first. Then you can build packages into its image, or pull the image."
            )
        current: Any = "None. Runs use the image as it is on the node."
        if live := build_of(runtime):
            page = reverse("admin:builds_runtimebuild_change", args=[live.pk])
            current = format_html('<a href="{}">Build {}</a>, {}', page, live.number, live.image_id)
        return format_html(
            '{} <br><a href="{}?runtime__id__exact={}">All builds</a>',
            current,
            reverse("admin:builds_runtimebuild_changelist"),
            runtime.pk,
        )

    @admin.display(description="Pool")
    def pool(self, runtime: Runtime) -> str:
        return f"{runtime.pool_min} to {runtime.pool_max}" if runtime.pool_max else "none"

    @admin.display(description="Warm", ordering="ready")
    def ready(self, runtime: Any) -> int:
        ready: int = runtime.ready
        return ready

    @admin.display(description="Wall time", ordering="wall_time_ms")
    def wall_time(self, runtime: Runtime) -> str:
        return format_ms(runtime.wall_time_ms)

    @admin.display(description="Memory", ordering="memory_bytes")
    def memory(self, runtime: Runtime) -> str:
        return format_bytes(runtime.memory_bytes)

    @admin.display(description="RAGFlow code policy", ordering="ragflow_code_policy")
    def ragflow_policy(self, runtime: Runtime) -> str:
        return str(runtime.ragflow_code_policy)

    @admin.display(description="Seccomp", ordering="seccomp_profile__name", empty_value="unconfined")
    def profile(self, runtime: Runtime) -> str | None:
        return runtime.seccomp_profile.name if runtime.seccomp_profile else None
