from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from alerts.models import Silence
from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.forms import SELECT
from sandbox_platform.kit.generics import ModelForm
from sandbox_platform.kit.html import badge
from sandbox_platform.kit.readonly import ReadOnlyAdmin

LASTS = {
    "1": "1 hour",
    "4": "4 hours",
    "8": "8 hours",
    "24": "1 day",
    "72": "3 days",
    "168": "1 week",
    "720": "30 days",
}


class SilenceForm(ModelForm[Silence]):
    lasts = forms.ChoiceField(label="Lasts", choices=list(LASTS.items()), initial="4", widget=SELECT)

    class Meta:
        model = Silence
        fields = ("rule", "subject", "reason")
        help_texts = {"reason": "For the colleagues who wonder why nobody was told."}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if "lasts" in values:
            self.instance.until = timezone.now() + timedelta(hours=int(values["lasts"]))
        return values


@admin.register(Silence)
class SilenceAdmin(ReadOnlyAdmin[Silence]):
    empty_hint = "Press “Silence …” on an alert. Silenced alerts open and resolve, and nobody is told."
    form = SilenceForm
    list_display = ("__str__", "state", "ends", "reason", "created_by", "created_at")
    list_filter = ("rule",)
    list_select_related = ("rule",)
    list_per_page = 50
    actions = ("end_now",)
    add_fieldsets = ((None, {"fields": ("rule", "subject", "lasts", "reason")}),)
    change_form_outer_before_template = "console/act_on_one.html"
    fields = readonly_fields = (
        "rule",
        "about",
        "state",
        "ends",
        "reason",
        "created_by",
        "created_at",
        "ended_at",
        "ended_by",
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.add_fieldsets if obj is None else super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else self.readonly_fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerts.add_silence")

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerts.change_silence")

    def save_model(self, request: HttpRequest, obj: Silence, form: ModelForm[Silence], change: bool) -> None:
        obj.created_by = actor_name(request.user)
        super().save_model(request, obj, form, change)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        in_force = Silence.objects.in_force(timezone.now())
        may = self.has_end_permission(request)
        may = may and bool(object_id and object_id.isdecimal() and in_force.filter(pk=object_id).exists())
        act = {"action": "end_now", "label": "End now", "may": may}
        return super().changeform_view(request, object_id, form_url, {"act": act} | (extra_context or {}))

    @admin.display(description="Subject", ordering="subject")
    def about(self, silence: Silence) -> str:
        return silence.subject or "all subjects"

    @admin.display(description="State")
    def state(self, silence: Silence) -> SafeString:
        if silence.ended_at:
            return badge("", "Ended")
        return badge("warning", "In force") if silence.until > timezone.now() else badge("", "Over")

    @admin.display(description="Until", ordering="until")
    def ends(self, silence: Silence) -> str:
        return f"{localtime(silence.until):%Y-%m-%d %H:%M}"

    @admin.action(description="End now", permissions=["end"])
    def end_now(self, request: HttpRequest, silences: QuerySet[Silence]) -> None:
        now = timezone.now()
        ended = silences.in_force(now).update(  # type: ignore[attr-defined]
            ended_at=now, ended_by=actor_name(request.user)
        )
        words = f"{ended} silence{'' if ended == 1 else 's'} ended. What fires is told within a minute."
        self.message_user(request, words, messages.SUCCESS)
