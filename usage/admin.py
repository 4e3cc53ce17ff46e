from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from sandbox_platform.kit.generics import ModelAdmin
from usage.models import Price
from usage.models.price import today


@admin.register(Price)
class PriceAdmin(ModelAdmin[Price]):
    empty_hint = "Without a price the page of usage shows no amounts."
    list_display = (
        "from_day", "currency", "per_run", "per_cpu_second", "per_gib_second", "per_gib_day_stored", "per_gib_egress",
    )  # fmt: skip
    fieldsets = (
        (
            None,
            {
                "description": "Amounts are computed with the price that held on each day. Past days keep theirs: to "
                "change a price, add one that begins today or later.",
                "fields": ("from_day", "currency"),
            },
        ),
        ("Prices", {"fields": list_display[2:]}),
    )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin with the prices of the newest row, from today."""
        newest = Price.objects.first()
        known = {name: getattr(newest, name) for name in self.list_display[1:]} if newest else {}
        return known | {"from_day": today()}

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is None or not obj.is_past) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is None or not obj.is_past) and super().has_delete_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Deleting several at once would not ask about each.
        return {}
