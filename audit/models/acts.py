from typing import Any

from django.db import models

from sandbox_platform.kit.acts import Kind


class Act(models.Model):
    """What somebody did that changed no watched row. Who, when and from where is in the trail, which watches this."""

    kind = models.CharField(max_length=20, choices=[(kind.value, kind.value) for kind in Kind])
    name = models.CharField(max_length=300, help_text="What it was done to.")
    object_id = models.CharField(max_length=64, blank=True)
    behalf = models.CharField("on behalf of", max_length=200, blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    class Meta:
        default_permissions = ()
        # An execution's page asks who cancelled it.
        indexes = [models.Index(fields=["object_id"], name="act_object_idx")]

    def __str__(self) -> str:
        return f"{self.name} {self.kind}"


def values_of(data: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return (before, after) by name, of an act as the trail holds it."""
    before, after = data.get("before") or {}, data.get("after") or {}
    changes = {name: (before.get(name), after.get(name)) for name in {**before, **after}}
    return changes | ({"on behalf of": (None, data["behalf"])} if data.get("behalf") else {})


class Setting(models.Model):
    """A setting of a node at its last start. The trail, which watches this table, has what changed since."""

    node = models.CharField(max_length=100)
    name = models.CharField(max_length=100)
    # Empty for a secret, of which the trail has a fingerprint of the hash.
    value = models.TextField(blank=True)
    secret_hash = models.CharField(max_length=200, null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["node", "name"], name="setting_once")]

    def __str__(self) -> str:
        return f"{self.name} of {self.node}"
