from django.db import models


class ShownSecret(models.Model):
    """A secret that somebody was shown. Who, when and from where is in the trail, which watches this table."""

    name = models.CharField(max_length=300, help_text="Which secret, and whose.")
    object_id = models.CharField(max_length=64, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
