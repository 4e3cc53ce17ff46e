from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

GIB = 2**30
# Columns of a price, the quantity that each is multiplied with, and how much of it one unit is.
UNITS: dict[str, tuple[str, int]] = {
    "per_run": ("started", 1),
    "per_cpu_second": ("cpu_ms", 1000),
    "per_gib_second": ("memory_byte_seconds", GIB),
    "per_gib_day_stored": ("stored_byte_hours", 24 * GIB),
    "per_gib_egress": ("egress_bytes", GIB),
}


def _price(name: str, help_text: str) -> "models.DecimalField[Any, Any]":
    return models.DecimalField(
        name,
        max_digits=18,
        decimal_places=9,
        default=Decimal(0),
        validators=[MinValueValidator(Decimal(0))],
        help_text=f"{help_text} 0: free.",
    )


class Price(models.Model):
    """Prices from a day on, until the next price begins. A past day keeps the price that it had."""

    from_day = models.DateField(
        "from",
        unique=True,
        help_text="First day (UTC) on which these prices hold: today or later. They hold until the next price begins.",
    )
    currency = models.CharField(max_length=12, help_text="Label shown with amounts, such as EUR or credits.")
    per_run = _price("per run", "For each run whose program was started or waited for it, not for rejected ones.")
    per_cpu_second = _price("per CPU second", "For each second of CPU time.")
    per_gib_second = _price("per GiB-second of memory", "Peak memory of a run times its duration.")
    per_gib_day_stored = _price("per GiB stored, each day", "For the stored history.")
    per_gib_egress = _price("per GiB of egress", "Sent and received by programs.")

    class Meta:
        ordering = ["-from_day"]
        constraints = [
            models.CheckConstraint(
                condition=Q(**{f"{name}__gte": 0 for name in UNITS}), name="price_is_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.currency} from {self.from_day}"

    def clean(self) -> None:
        if self.from_day and self._state.adding and self.from_day < today():
            raise ValidationError({"from_day": "This day has passed and keeps its price. Choose today or later."})

    @property
    def begins(self) -> datetime:
        return datetime.combine(self.from_day, time(), UTC)

    @property
    def is_past(self) -> bool:
        """Whether a day with this price has ended, so that it may not change any more."""
        return self.from_day < today()

    @property
    def is_free(self) -> bool:
        return not any(getattr(self, name) for name in UNITS)

    def cost(self, quantities: Mapping[str, int | None]) -> Decimal:
        """Return the price of the quantities, whose keys are those of UNITS."""
        return sum(
            (
                getattr(self, name) * Decimal(quantities.get(quantity) or 0) / size
                for name, (quantity, size) in UNITS.items()
            ),
            Decimal(0),
        )


def today() -> date:
    return timezone.now().astimezone(UTC).date()
