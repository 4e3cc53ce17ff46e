"""The pages of rules. The form has a field for each parameter of the condition that the rule watches."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from alerts.models import AlertState, Channel, Rule
from runtimes.forms import BytesField, TimeField
from sandbox_platform.kit import conditions, html
from sandbox_platform.kit.conditions import Choice, Condition, Parameter
from sandbox_platform.kit.forms import CHECKBOXES, SELECT, NumberInput
from sandbox_platform.kit.generics import ModelAdmin, ModelForm

PREFIX = "parameter_"
QUANTITIES = {"ms": TimeField, "bytes": BytesField}
COMMON = ("name", "enabled", "severity")
TIMES = ("pending_ms", "recover_ms", "remind_ms")


def field_of(parameter: Parameter | Choice) -> forms.Field:
    """Return the form's field. Its bounds are checked by the parameter itself, whose message has units."""
    if isinstance(parameter, Choice):
        return forms.ChoiceField(
            label=parameter.label,
            choices=list(parameter.choices.items()),
            initial=parameter.default,
            help_text=parameter.help_text,
            widget=SELECT,
        )
    quantity = QUANTITIES.get(parameter.unit)
    options: dict[str, Any] = {} if quantity else {"widget": NumberInput}
    words = f"From {parameter.words(parameter.minimum)} to {parameter.words(parameter.maximum)}."
    return (quantity or forms.IntegerField)(
        label=parameter.label,
        initial=parameter.default,
        help_text=f"{words} {parameter.help_text}".strip(),
        **options,
    )


class RuleForm(ModelForm[Rule]):
    condition_watched: Condition
    channels = forms.MultipleChoiceField(
        widget=CHECKBOXES, required=False, help_text=Rule._meta.get_field("channels").help_text
    )

    class Meta:
        model = Rule
        fields = (*COMMON, *TIMES, "channels")
        field_classes = dict.fromkeys(TIMES, TimeField)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(channels := self.fields.get("channels"), forms.MultipleChoiceField):
            known = list(Channel.objects.values_list("name", flat=True))
            gone = [name for name in self.instance.channels if name not in known]
            channels.choices = [*((name, name) for name in known), *((name, f"{name} (gone)") for name in gone)]
        for parameter in self.condition_watched.parameters:
            if parameter.name in self.instance.parameters:
                self.initial[PREFIX + parameter.name] = self.instance.parameters[parameter.name]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        parameters = {}
        for parameter in self.condition_watched.parameters:
            name = PREFIX + parameter.name
            if name in self.errors:
                continue
            try:
                parameters[parameter.name] = parameter.read(values.get(name))
            except ValueError as e:
                self.add_error(name, str(e))
        self.instance.condition = self.condition_watched.name
        self.instance.parameters = parameters
        return values


@admin.register(Rule)
class RuleAdmin(ModelAdmin[Rule]):
    empty_hint = "A rule watches one figure and says who is told."
    list_display = ("name", "enabled", "severity", "watched", "settings_now", "told", "state_now")
    list_filter = ("enabled", "severity")
    list_select_related = ("state",)
    search_fields = ("name", "condition")
    list_per_page = 50
    readonly_fields = ("watched", "settings_now", "state_now")
    list_before_template = "alerts/rules_tools.html"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        context = {
            "no_channel": not Channel.objects.filter(enabled=True).exists(),
            "may_add_channel": request.user.has_perm("alerts.add_channel"),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    def _condition_of(self, request: HttpRequest, obj: Rule | None) -> Condition | None:
        return conditions.declared().get(obj.condition if obj else request.GET.get("condition", ""))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if self._condition_of(request, None) is None and self.has_add_permission(request):
            context = {
                **self.admin_site.each_context(request),
                "title": "Add alert rule",
                "opts": self.opts,
                "conditions": conditions.declared().values(),
            }
            return TemplateResponse(request, "alerts/choose_condition.html", context)
        return super().add_view(request, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        condition = self._condition_of(request, obj)
        if condition is None:  # of a later release: its values stay as they are
            condition = Condition(obj.condition if obj else "", "", "", lambda values: ())
        fields = {PREFIX + each.name: field_of(each) for each in condition.parameters}
        made = type("RuleForm", (RuleForm,), {**fields, "condition_watched": condition})
        options = kwargs | {"form": made, "fields": (*COMMON, *TIMES, "channels")}
        return super().get_form(request, obj, change, **options)

    def get_fieldsets(self, request: HttpRequest, obj: Rule | None = None) -> Any:
        condition = self._condition_of(request, obj)
        may = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        parameters: tuple[str, ...] = ("settings_now",)
        if may and condition:
            parameters = tuple(PREFIX + each.name for each in condition.parameters)
        return (
            (None, {"fields": COMMON}),
            (
                f"Fires when: {condition.title}" if condition else "Fires when",
                {
                    "description": condition.purpose if condition else "This release does not know the condition.",
                    "fields": parameters or ("settings_now",),
                },
            ),
            ("Timing", {"fields": TIMES}),
            ("Messages", {"fields": ("channels",)}),
            *((("Now", {"fields": ("state_now",)}),) if obj else ()),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rule]:
        firing = Count("alerts", filter=Q(alerts__state=AlertState.FIRING))
        return super().get_queryset(request).annotate(firing=firing)

    @admin.display(description="Condition", ordering="condition")
    def watched(self, rule: Rule) -> str:
        condition = rule.watches
        return condition.title if condition else f"{rule.condition} (unknown)"

    @admin.display(description="Parameters")
    def settings_now(self, rule: Rule) -> str:
        condition = rule.watches
        if condition is None or not condition.parameters:
            return "none"
        return "; ".join(
            f"{each.label}: {each.words(rule.parameters.get(each.name, each.default))}"
            for each in condition.parameters
        )

    @admin.display(description="Channels")
    def told(self, rule: Rule) -> str:
        return ", ".join(rule.channels) or "all"

    @admin.display(description="State")
    def state_now(self, rule: Any) -> SafeString:
        if not rule.enabled:
            return html.badge("", "Disabled")
        state = getattr(rule, "state", None)
        if state is None:
            return html.badge("pending", "Not evaluated yet")
        if state.error:
            return html.badge("broken", f"Cannot be evaluated: {state.error}")
        words = html.badge("broken", f"{rule.firing} firing") if rule.firing else html.badge("ok", "Not firing")
        at = f"evaluated {localtime(state.evaluated_at):%H:%M:%S}" if state.evaluated_at else ""
        return format_html('{} <span class="note">{}</span>', words, at)
