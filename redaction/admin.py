from django.contrib import admin

from redaction.models import RedactionPattern
from sandbox_platform.kit.generics import ModelAdmin


@admin.register(RedactionPattern)
class RedactionPatternAdmin(ModelAdmin[RedactionPattern]):
    empty_hint = "Without patterns nothing is redacted."
    list_display = ("name", "regex", "replacement", "enabled")
    list_filter = ("enabled",)
    search_fields = ("name", "regex")
