"""The pages of channels: only administrators change them. Nobody is shown a URL, which is as good as a token."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_email
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.views.decorators.http import require_POST

from alerts import notifications
from alerts.models import Channel, ChannelKind, Notification, Rule
from alerts.sending import NO_SERVER
from sandbox_platform.kit import acts, disclosures, html
from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.addresses import Refused, check_url
from sandbox_platform.kit.forms import TEXTAREA, TextInput
from sandbox_platform.kit.generics import ModelAdmin, ModelForm

MOST_RECIPIENTS = 50
# Of the field's widget: the kinds of channel for which the page shows it (kinds.js).
KINDS = "data-kinds"
WEBHOOKS = f"{ChannelKind.WEBHOOK.value} {ChannelKind.SLACK.value}"


class ChannelForm(ModelForm[Channel]):
    recipients = forms.CharField(
        required=False,
        widget=TEXTAREA(attrs={"rows": 3, KINDS: ChannelKind.MAIL.value}),
        help_text="For mail: addresses, one per line or separated by commas.",
    )
    url = forms.CharField(
        label="URL",
        required=False,
        max_length=2000,
        widget=TextInput(attrs={"autocomplete": "off", "spellcheck": "false", KINDS: WEBHOOKS}),
    )

    class Meta:
        model = Channel
        fields = ("name", "kind", "enabled", "lowest_severity", "recipients", "url")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (recipients := self.fields.get("recipients")) and self.instance.pk:
            recipients.initial = self.initial["recipients"] = "\n".join(self.instance.recipients)
        if url := self.fields.get("url"):
            self.initial["url"] = ""  # what is stored is not shown
            kept = "Stored and not shown. Empty: stays as it is." if self.instance.url else "For webhooks."
            url.help_text = (
                f"{kept} Public addresses only, unless SANDBOX_CALLBACK_NETWORKS allows others. Redirects are not "
                "followed."
            )

    @property
    def kind(self) -> str:
        return str(self.cleaned_data.get("kind") or self.instance.kind)

    def clean_recipients(self) -> list[str]:
        given = self.cleaned_data["recipients"].replace(",", "\n").split("\n")
        addresses = list(dict.fromkeys(each.strip() for each in given if each.strip()))
        if len(addresses) > MOST_RECIPIENTS:
            raise ValidationError(f"At most {MOST_RECIPIENTS} addresses: use a mailing list.")
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError as e:
                raise ValidationError(f"{address[:100]!r} is no mail address: write name@example.com.") from e
        return addresses

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"]).strip()
        if not url:
            return self.instance.url
        try:
            return check_url(url)
        except Refused as e:
            raise ValidationError(str(e)) from e

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.kind == ChannelKind.MAIL:
            if not values.get("recipients") and "recipients" not in self.errors:
                self.add_error("recipients", "Mail needs at least one address.")
            if self.data.get("url"):
                self.add_error("url", "Mail has no URL: leave this empty, or choose another kind.")
            values["url"] = ""
        else:
            if not values.get("url") and "url" not in self.errors:
                self.add_error("url", "A webhook needs a URL.")
            if values.get("recipients"):
                self.add_error("recipients", "A webhook has no recipients: leave this empty, or choose mail.")
        return values


@admin.register(Channel)
class ChannelAdmin(ModelAdmin[Channel]):
    empty_hint = "Without a channel nobody is told: alerts show in the console only. Add mail, a webhook or Slack."
    form = ChannelForm
    list_display = ("name", "kind", "target", "lowest_severity", "enabled", "last_message")
    list_filter = ("kind", "enabled")
    actions = ("rotate_secret",)
    readonly_fields = ("target", "last_message", "created_at")
    add_fieldsets = ((None, {"fields": ("name", "kind", "recipients", "url", "enabled", "lowest_severity")}),)

    class Media:
        js = ("alerts/kinds.js",)

    def get_fieldsets(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        if obj is None:
            return self.add_fieldsets
        fields = ["name", "kind", "enabled", "lowest_severity"]
        if obj.kind == ChannelKind.MAIL:
            fields.append("recipients")
        else:
            fields.append("target")
            if self.has_change_permission(request, obj):
                fields.append("url")
        return ((None, {"fields": (*fields, "last_message", "created_at")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # Rules name their channels, and another kind has another target.
        return (*self.readonly_fields, "name", "kind") if obj else self.readonly_fields

    @admin.display(description="Target")
    def target(self, channel: Channel) -> str:
        if channel.kind == ChannelKind.MAIL:
            return ", ".join(channel.recipients)
        scheme = channel.url.partition("://")[0]
        return f"{scheme}://{channel.host}/…"

    @admin.display(description="Last message", empty_value="none")
    def last_message(self, channel: Channel) -> SafeString | None:
        last = Notification.objects.filter(channel=channel).order_by("-id").defer("lines").first()
        if last is None:
            return None
        return format_html(
            "{} {} {}",
            html.badge(last.status, last.get_status_display()),
            f"{localtime(last.created_at):%Y-%m-%d %H:%M}",
            last.last_answer,
        )

    def save_model(self, request: HttpRequest, obj: Channel, form: ModelForm[Channel], change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.kind == ChannelKind.MAIL and not settings.SANDBOX_MAIL_CONFIGURED:
            self.message_user(request, NO_SERVER, messages.WARNING)
        if not change and obj.kind != ChannelKind.MAIL:
            self._show_once(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        named = obj is not None and Rule.objects.filter(channels__contains=[obj.name]).exists()
        return not named and super().has_delete_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> Any:
        # Deleting many at once would not ask which rules name them.
        return {name: each for name, each in super().get_actions(request).items() if name != "delete_selected"}

    @admin.action(description="Change the secret that signs (both sign for 24 hours)", permissions=["change"])
    def rotate_secret(self, request: HttpRequest, channels: QuerySet[Channel]) -> None:
        for channel in channels.exclude(kind=ChannelKind.MAIL):
            channel.secret_version += 1
            channel.secret_rotated_at = timezone.now()
            channel.save(update_fields=["secret_version", "secret_rotated_at"])
            self.log_change(request, channel, "Changed the signing secret.")
            self._show_once(request, channel)

    def _show_once(self, request: HttpRequest, channel: Channel) -> None:
        disclosures.shown(f"signing secret of channel {channel}", channel.pk, http=request)
        message = format_html(
            'Messages of {} are signed with this secret, shown only now: <code id="secret-{}">{}</code> '
            '<button type="button" class="button small" data-copy="secret-{}">Copy</button>',
            *(channel.name, channel.pk, channel.secret, channel.pk),
        )
        self.message_user(request, message, messages.WARNING)

    # --- The test ---

    def get_urls(self) -> list[URLPattern]:
        test = require_POST(self.test)
        return [
            path("<int:pk>/test/", self.admin_site.admin_view(test), name="alerts_channel_test"),
            *super().get_urls(),
        ]

    def test(self, request: HttpRequest, pk: int) -> HttpResponse:
        channel = get_object_or_404(Channel, pk=pk)
        if not self.has_change_permission(request, channel):
            raise PermissionDenied
        acts.done(Kind.TESTED, f"alert channel {channel}", channel.pk, http=request)
        notification = notifications.test(channel, actor_name(request.user))
        return redirect("admin:alerts_notification_change", notification.pk)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {"may_test": self.has_change_permission(request), "no_server": ""}
        channel = Channel.objects.filter(pk=object_id).first() if object_id and object_id.isdecimal() else None
        if channel and channel.kind == ChannelKind.MAIL and not settings.SANDBOX_MAIL_CONFIGURED:
            context["no_server"] = NO_SERVER
        if channel:
            naming = Rule.objects.filter(channels__contains=[channel.name])
            context["named_by"] = ", ".join(naming.values_list("name", flat=True))
        return super().changeform_view(request, object_id, form_url, context | (extra_context or {}))
