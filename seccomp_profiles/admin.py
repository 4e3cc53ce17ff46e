from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from sandbox_platform.forms import TEXTAREA, json_field
from sandbox_platform.generics import ModelAdmin, ModelForm
from seccomp_profiles.models import UNCONFINED, SeccompProfile
from seccomp_profiles.validators import validate_profile


class SeccompProfileForm(ModelForm[SeccompProfile]):
    rules = json_field(
        28, validators=[validate_profile], help_text=SeccompProfile._meta.get_field("rules").help_text
    )

    class Meta:
        model = SeccompProfile
        fields = ("name", "description", "rules")
        widgets = {"description": TEXTAREA(attrs={"rows": 3})}


@admin.register(SeccompProfile)
class SeccompProfileAdmin(ModelAdmin[SeccompProfile]):
    form = SeccompProfileForm
    list_display = ("name", "description", "default_action", "refused", "used_by")
    search_fields = ("name", "description")
    readonly_fields = ("used_by", "fingerprint", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "description", "used_by")}),
        (
            "Rules",
            {
                "description": "They hold for the runner and the program, inside gVisor. "
                "A rule that refuses setuid, setgid, kill, clone or execve keeps every run from starting. "
                "Names gVisor does not know are skipped without a word.",
                "fields": ("rules",),
            },
        ),
        ("Record", {"fields": ("fingerprint", "created_at", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[SeccompProfile]:
        return super().get_queryset(request).prefetch_related("runtimes")

    def has_delete_permission(self, request: HttpRequest, obj: SeccompProfile | None = None) -> bool:
        return obj is not None and not obj.runtimes.exists() and super().has_delete_permission(request, obj)

    @admin.display(description="By default", empty_value="allow")
    def default_action(self, profile: SeccompProfile) -> str | None:
        return _action(profile.rules["defaultAction"]) if profile.rules else None

    @admin.display(description="System calls named")
    def refused(self, profile: SeccompProfile) -> int:
        return sum(len(rule["names"]) for rule in (profile.rules or {}).get("syscalls", ()))

    @admin.display(description="Used by")
    def used_by(self, profile: SeccompProfile) -> str:
        if profile._state.adding:
            return "no runtime yet"
        names = ", ".join(runtime.slug for runtime in profile.runtimes.all())
        if profile.name == UNCONFINED:
            names = ", ".join(filter(None, (names, "runtimes without a profile")))
        return names or "no runtime"

    @admin.display(description="SHA-256 of the rules")
    def fingerprint(self, profile: SeccompProfile) -> str:
        return profile.sha256


def _action(name: str) -> str:
    return name.removeprefix("SCMP_ACT_").lower()
