"""Builds in the admin: adding a row requests a build, and the row's page follows it."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from builds import services
from builds.models import UNFINISHED, USABLE, BuildKind, BuildState, RuntimeBuild
from runtimes.models import Runtime
from runtimes.packages import ECOSYSTEMS, EXAMPLES, problems
from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.errors import Refused
from sandbox_platform.kit.forms import TEXTAREA
from sandbox_platform.kit.generics import ModelAdmin, ModelForm
from sandbox_platform.kit.html import badge

LOG_CHUNK = 64 * 1024  # characters


def packages_field(ecosystem: str) -> forms.CharField:
    return forms.CharField(
        label=f"{ecosystem} packages",
        required=False,
        widget=TEXTAREA(attrs={"rows": 4}),
        help_text=f"One per line, optionally with a version: {EXAMPLES[ecosystem]}. Give the complete list: "
        "packages of earlier builds are not kept.",
    )


class BuildForm(ModelForm[RuntimeBuild]):
    apt = packages_field("apt")
    pip = packages_field("pip")
    npm = packages_field("npm")

    class Meta:
        model = RuntimeBuild
        fields = ("runtime", "kind")
        help_texts = {
            "kind": "Pull fetches the runtime's image again first. Both kinds install the packages on top of it.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kind"].initial = BuildKind.PACKAGES
        runtime = self._chosen()
        for ecosystem in ECOSYSTEMS:
            field = self.fields[ecosystem]
            field.initial = "\n".join(runtime.packages.get(ecosystem, ())) if runtime else ""

    def _chosen(self) -> Runtime | None:
        """Return the runtime that the query string names, or None."""
        chosen = str(self.initial.get("runtime", ""))
        return Runtime.objects.filter(pk=int(chosen)).first() if chosen.isdecimal() and len(chosen) < 10 else None

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if why := services.why_unavailable():
            raise ValidationError(f"{why} {services.AVAILABLE_WITH}")
        packages = {name: values.get(name, "").split() for name in ECOSYSTEMS}
        for ecosystem, problem in problems(packages).items():
            self.add_error(ecosystem or None, problem)
        values["packages"] = packages
        runtime = values.get("runtime")
        if runtime and RuntimeBuild.objects.unfinished().filter(runtime=runtime).exists():
            raise ValidationError(
                f"Another build of {runtime} is in progress: wait until it has ended, or cancel it."
            )
        return values


@admin.register(RuntimeBuild)
class RuntimeBuildAdmin(ModelAdmin[RuntimeBuild]):
    empty_hint = "A build adds packages to a runtime's image, tests the new image, and activates it."
    form = BuildForm
    list_display = (
        "__str__",
        "kind",
        "shown_state",
        "progress",
        "requested_by",
        "created_at",
        "finished_at",
        "live_at",
    )
    list_select_related = ("runtime",)
    list_filter = ("runtime", "state", "kind")
    add_fieldsets = (
        (
            None,
            {
                "description": "The image is built in the background, and tested in a sandbox with the runtime's smoke "
                "programs before runs get it. A failed build changes nothing. "
                "Programs can use every package listed here: list only packages that you trust.",
                "fields": ("runtime", "kind", *ECOSYSTEMS),
            },
        ),
    )
    fieldsets = (
        (None, {"fields": ("runtime", "number", "kind", "requested_by")}),
        ("Packages", {"fields": ("shown_packages",)}),
        ("Image", {"fields": ("base", "base_image_id", "digest", "image_id", "node")}),
        ("Times", {"fields": ("created_at", "started_at", "finished_at", "live_at")}),
    )
    readonly_fields = (
        "number", "requested_by", "shown_packages", "base", "base_image_id", "digest",
        "image_id", "node", "created_at", "started_at", "finished_at", "live_at",
    )  # fmt: skip
    change_form_template = "admin/builds/runtimebuild/change_form.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        # The log is fetched separately, in chunks.
        return super().get_queryset(request).defer("log")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        # An existing build is read-only.
        return super().get_form(request, obj, change, **kwargs | ({"form": forms.ModelForm} if obj else {}))

    def get_fieldsets(self, request: HttpRequest, obj: RuntimeBuild | None = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: RuntimeBuild | None = None) -> Any:
        return (*self.readonly_fields, "runtime", "kind") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: RuntimeBuild | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: RuntimeBuild, form: Any, change: bool) -> None:
        if change:
            return  # an existing build cannot be edited
        try:
            build = services.request_build(
                obj.runtime,
                kind=BuildKind(obj.kind),
                packages=form.cleaned_data["packages"],
                by=actor_name(request.user),
            )
        except Refused as e:
            # Another build was requested at the same moment.
            raise PermissionDenied(str(e)) from e
        obj.pk, obj.number = build.pk, build.number

    def response_add(
        self, request: HttpRequest, obj: RuntimeBuild, post_url_continue: str | None = None
    ) -> HttpResponse:
        return HttpResponseRedirect(page_of(obj.pk))

    def get_urls(self) -> list[URLPattern]:
        def named(action: str, view: Callable[..., HttpResponse]) -> URLPattern:
            name = f"builds_runtimebuild_{action}"
            return path(f"<int:pk>/{action}/", self.admin_site.admin_view(view), name=name)

        own = [
            named("log", self.log_view),
            named("cancel", require_POST(self.cancel_view)),
            named("activate", require_POST(self.activate_view)),
            named("deactivate", require_POST(self.deactivate_view)),
        ]
        return own + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        say_unavailable(request)
        return super().changelist_view(request, extra_context)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        if request.method == "GET":  # the form says it, too
            say_unavailable(request)
        return super().add_view(request, form_url, extra_context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> Any:
        build = self.get_object(request, object_id)
        # An existing build cannot be saved. Another one of the same runtime is offered instead.
        buttons = ("show_save", "show_save_and_continue", "show_save_and_add_another")
        context = dict.fromkeys(buttons, False) | (extra_context or {})
        if build:
            context |= {
                "build": build,
                "may_change": self.has_change_permission(request, build),
                "badge": badge(build.state, build.get_state_display()),
                "may_add": self.has_add_permission(request),
                "may_deactivate": build.state == BuildState.LIVE,
                "unfinished": build.state in UNFINISHED,
                "may_activate": build.state in USABLE and build.state != BuildState.LIVE and bool(build.image_id),
            }
        return super().change_view(request, object_id, form_url, context)

    def log_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        build = self._build(request, pk, changing=False)
        given = request.GET.get("since", "0")
        since = int(given) if given.isdecimal() and len(given) < 10 else 0
        log = build.log[since : since + LOG_CHUNK]
        return JsonResponse(
            {
                "state": build.state,
                "label": build.get_state_display(),
                "progress": build.progress,
                "error": build.error,
                "log": log,
                "next": since + len(log),
                "more": since + len(log) < len(build.log),
                "unfinished": build.state in UNFINISHED or bool(build.progress),
            }
        )

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not services.cancel(build := self._build(request, pk)):
            messages.warning(request, f"The build has already ended: {build.state}.")
        return HttpResponseRedirect(page_of(pk))

    def activate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        try:
            services.activate(self._build(request, pk))
        except Refused as e:
            messages.error(request, str(e))
        else:
            messages.success(request, "The build goes live as soon as its warm sandboxes are ready.")
        return HttpResponseRedirect(page_of(pk))

    def deactivate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        build = self._build(request, pk)
        try:
            services.deactivate(build)
        except Refused as e:
            messages.error(request, str(e))
        else:
            messages.success(request, f"Runs of {build.runtime} get {build.runtime.image}, without a build.")
        return HttpResponseRedirect(page_of(pk))

    def _build(self, request: HttpRequest, pk: int, *, changing: bool = True) -> RuntimeBuild:
        build = RuntimeBuild.objects.select_related("runtime").filter(pk=pk).first()
        allowed = self.has_change_permission if changing else self.has_view_permission
        if not allowed(request, build):
            raise PermissionDenied
        if build is None:
            raise Http404
        return build

    @admin.display(description="State", ordering="state")
    def shown_state(self, build: RuntimeBuild) -> SafeString:
        return badge(build.state, build.get_state_display())

    @admin.display(description="Packages")
    def shown_packages(self, build: RuntimeBuild) -> str:
        named = [f"{name}: {', '.join(build.packages[name])}" for name in ECOSYSTEMS if build.packages.get(name)]
        return "; ".join(named) or "none in addition to the image"


def say_unavailable(request: HttpRequest) -> None:
    """Say on the page why this installation makes no builds, and what to set."""
    if why := services.why_unavailable():
        messages.warning(request, f"{why} {services.AVAILABLE_WITH}")


def page_of(pk: int) -> str:
    return reverse("admin:builds_runtimebuild_change", args=[pk])
