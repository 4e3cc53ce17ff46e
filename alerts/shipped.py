"""The rules that are on from the start. Conditions name them; an administrator may change, disable or delete them."""

from django.db import transaction

from alerts.models import Rule, ShippedKey
from sandbox_platform.kit import conditions


def create_missing() -> list[str]:
    """Create the shipped rules that never existed here, and return their names. Deleted ones do not come back."""
    created = []
    for condition in conditions.declared().values():
        for shipped in condition.shipped:
            with transaction.atomic():
                if not ShippedKey.objects.get_or_create(key=shipped.key)[1]:
                    continue
                if Rule.objects.filter(name=shipped.name).exists():
                    continue  # somebody's own: it stays as it is
                Rule.objects.create(
                    name=shipped.name,
                    condition=condition.name,
                    parameters=condition.values(shipped.parameters or {}),
                    severity=shipped.severity,
                    pending_ms=shipped.pending_ms,
                )
                created.append(shipped.name)
    return created
