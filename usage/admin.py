from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from sandbox_platform.kit.forms import TextInput
from sandbox_platform.kit.generics import ModelAdmin
from usage.models import Price
from usage.models.price import UNITS, today


def plain(value: Decimal) -> str:
    """Return a decimal number as people write it: 0.01 instead of 0.010000000 or 1E-2."""
    return f"{value.normalize():f}"


class PlainDecimalField(forms.DecimalField):
    def prepare_value(self, value: Any) -> Any:
        return plain(value) if isinstance(value, Decimal) else value


@admin.register(Price)
class PriceAdmin(ModelAdmin[Price]):
    empty_hint = "Without a price the page of usage shows no amounts."
    list_display = ("from_day", "currency", "run", "cpu", "gib_seconds", "stored", "egress")
    formfield_overrides = {
        models.DecimalField: {"form_class": PlainDecimalField, "widget": TextInput(attrs={"inputmode": "decimal"})}
    }
    fieldsets = (
        (
            None,
            {
                "description": "Amounts are computed with the price that held on each day. Past days keep theirs: to "
                "change a price, add one that begins today or later.",
                "fields": ("from_day", "currency"),
            },
        ),
        ("Prices", {"fields": tuple(UNITS)}),
    )

    @admin.display(description="Per run", ordering="per_run")
    def run(self, price: Price) -> str:
        return plain(price.per_run)

    @admin.display(description="CPU second", ordering="per_cpu_second")
    def cpu(self, price: Price) -> str:
        return plain(price.per_cpu_second)

    @admin.display(description="GiB-second of memory", ordering="per_gib_second")
    def gib_seconds(self, price: Price) -> str:
        return plain(price.per_gib_second)

    @admin.display(description="GiB stored, each day", ordering="per_gib_day_stored")
    def stored(self, price: Price) -> str:
        return plain(price.per_gib_day_stored)

    @admin.display(description="GiB of egress", ordering="per_gib_egress")
    def egress(self, price: Price) -> str:
        return plain(price.per_gib_egress)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin with the prices of the newest row, from today."""
        newest = Price.objects.first()
        known = {name: getattr(newest, name) for name in ("currency", *UNITS)} if newest else {}
        return known | {"from_day": today()}

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is None or not obj.is_past) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is None or not obj.is_past) and super().has_delete_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Deleting several at once would not ask about each.
        return {}
