from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Max, QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.generics import ModelAdmin
from seccomp_profiles import activation, revisions
from seccomp_profiles.admin import pages
from seccomp_profiles.admin.forms import SeccompProfileForm
from seccomp_profiles.models import UNCONFINED, SeccompProfile
from seccomp_profiles.rules import ACTION_WORDS


@admin.register(SeccompProfile)
class SeccompProfileAdmin(ModelAdmin[SeccompProfile]):
    form = SeccompProfileForm
    list_display = ("name", "description", "extends", "default_action", "in_force", "proven", "used_by")
    search_fields = ("name", "description")
    list_before_template = "seccomp_profiles/list_tools.html"
    readonly_fields = ("used_by", "fingerprint", "created_at", "updated_at")

    class Media:
        js = ("seccomp_profiles/editor.js",)
        css = {"all": ("seccomp_profiles/editor.css",)}

    def get_fieldsets(self, request: HttpRequest, obj: SeccompProfile | None = None) -> Any:
        own, changes = ("rules", "imported"), ("allow", "deny")
        if obj and not self.has_change_permission(request, obj):
            # The rules are shown below: without the editor, their fields have no values.
            return (
                (None, {"fields": ("name", "description", *(("parent",) if obj.parent else ()), "used_by")}),
                ("Record", {"fields": ("fingerprint", "created_at", "updated_at")}),
            )
        if obj is None:
            edited: tuple[str, ...] = ("parent", *own, *changes)
        else:
            edited = changes if obj.parent else own
        return (
            (None, {"fields": ("name", "description", "used_by")}),
            (
                "Rules",
                {
                    "description": "The rules apply to the runner and the program, inside gVisor. Saving makes a new "
                    "revision and activates it if it is proven on every runtime that uses the profile.",
                    "fields": (*edited, "note"),
                },
            ),
            ("Record", {"fields": ("fingerprint", "created_at", "updated_at")}),
        )

    def get_form(
        self, request: HttpRequest, obj: SeccompProfile | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        if obj and obj.active:
            form.base = pages.edited_revision(request, obj)
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: SeccompProfile | None = None) -> Any:
        # The revisions were derived from this parent, so it cannot change.
        return (*super().get_readonly_fields(request, obj), *(("parent",) if obj else ()))

    def get_queryset(self, request: HttpRequest) -> QuerySet[SeccompProfile]:
        rows = super().get_queryset(request).select_related("active", "parent")
        return rows.prefetch_related("runtimes", "clients").annotate(newest=Max("revisions__number"))

    def has_delete_permission(self, request: HttpRequest, obj: SeccompProfile | None = None) -> bool:
        return obj is not None and not in_use(obj) and super().has_delete_permission(request, obj)

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, view: Any, name: str) -> URLPattern:
            wrapped = self.admin_site.admin_view(lambda request, **kwargs: view(request, self, **kwargs))
            return path(route, wrapped, name=f"seccomp_profiles_{name}")

        return [
            page("check/", pages.check, "check"),
            page("editor/", pages.editor, "editor"),
            page("<int:profile_id>/diff/", pages.show_diff, "diff"),
            page("<int:profile_id>/follow/", pages.follow, "follow"),
            page("<int:profile_id>/revisions/<int:number>/", pages.show_revision, "revision"),
            page("<int:profile_id>/revisions/<int:number>/activate/", pages.activate, "activate"),
            page("<int:profile_id>/revisions/<int:number>/export/", pages.export, "export"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **options: Any) -> Any:
        context |= pages.change_form_context(request, options.get("obj"))
        return super().render_change_form(request, context, *args, **options)

    def save_model(self, request: HttpRequest, obj: SeccompProfile, form: Any, change: bool) -> None:
        by = actor_name(request.user)
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if not form.is_changed:
                return
            values = form.cleaned_data
            revision = revisions.add_revision(
                obj,
                None if obj.parent else values.get("rules"),
                allow=values.get("allow") or () if obj.parent else (),
                deny=values.get("deny") or () if obj.parent else (),
                note=values["note"],
                by=by,
            )
            if obj.active is None:
                revisions.put_in_force(revision, by=by)
                return
        try:
            activation.activate(revision, by=by)
            messages.success(request, f"Revision {revision.number} is in force.")
        except activation.NotProven as e:
            messages.warning(request, f"{e.detail} The revision stays a draft until it is activated below.")

    @admin.display(description="Extends", empty_value="–")
    def extends(self, profile: SeccompProfile) -> str | None:
        if profile.parent is None:
            return None
        return f"{profile.parent}{' (changed since)' if profile.parent_is_newer else ''}"

    @admin.display(description="Default action")
    def default_action(self, profile: SeccompProfile) -> str:
        return ACTION_WORDS[profile.rules["defaultAction"]] if profile.rules else "allowed"

    @admin.display(description="Revision")
    def in_force(self, profile: Any) -> str:
        number = profile.current.number
        return f"{number} of {profile.newest}" if profile.newest != number else str(number)

    @admin.display(description="Proven on", empty_value="–")
    def proven(self, profile: SeccompProfile) -> SafeString | None:
        return format_html_join(" ", "{}", ((badge,) for badge in pages.badges(profile.current))) or None

    @admin.display(description="Used by")
    def used_by(self, profile: SeccompProfile) -> str:
        if profile._state.adding:
            return "nothing yet"
        names = [runtime.slug for runtime in profile.runtimes.all()]
        names += [f"client {client.name}" for client in profile.clients.all()]
        if profile.name == UNCONFINED:
            names.append("runtimes without a profile")
        return ", ".join(names) or "nothing"

    @admin.display(description="SHA-256 of the rules in force")
    def fingerprint(self, profile: SeccompProfile) -> str:
        return profile.sha256


def in_use(profile: SeccompProfile) -> bool:
    return profile.runtimes.exists() or profile.clients.exists() or profile.children.exists()
