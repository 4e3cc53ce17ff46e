from typing import Any
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.db import models

from alerts.models.rules import Severity
from executions.callbacks import signing

# Of the derived secrets. The channel's key and the number of its rotations go in.
SALT = "alerts.channel"
MAIL_HOST = "mail"


class ChannelKind(models.TextChoices):
    MAIL = "mail", "Mail"
    WEBHOOK = "webhook", "Webhook"
    SLACK = "slack", "Slack-compatible webhook"


class Channel(models.Model):
    """Where messages about alerts go."""

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=7, choices=ChannelKind.choices)
    enabled = models.BooleanField(default=True, help_text="If disabled, it gets no messages, but tests.")
    lowest_severity = models.CharField(
        max_length=8,
        choices=Severity.choices,
        default=Severity.INFO,
        help_text="Less severe alerts do not go to this channel.",
    )
    recipients = ArrayField(models.EmailField(), default=list, blank=True)
    # Whoever knows it can post: it is treated as a secret. Only web and callbacks may read the column.
    url = models.CharField("URL", max_length=2000, blank=True)
    # Of the URL, or "mail": what a bound counts, and what pages show of the URL.
    host = models.CharField(max_length=300, editable=False)
    secret_version = models.PositiveIntegerField(default=1, editable=False)
    secret_rotated_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "alert channel"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind=ChannelKind.MAIL, url="", recipients__len__gt=0)
                | models.Q(kind__in=[ChannelKind.WEBHOOK, ChannelKind.SLACK], recipients__len=0)
                & ~models.Q(url=""),
                name="alert_channel_has_target",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.host = (urlsplit(self.url).hostname or "")[:300] if self.url else MAIL_HOST
        super().save(*args, **kwargs)

    @property
    def takes(self) -> set[str]:
        """Return the severities that go to this channel."""
        return {each.value for each in Severity if each.rank >= Severity(self.lowest_severity).rank}

    @property
    def keys(self) -> list[bytes]:
        """Return the keys that sign now: after a rotation the new one and, for a day, the one before."""
        return signing.overlapping(
            lambda version: signing.derived(SALT, f"{self.pk}:{version}"),
            self.secret_version,
            self.secret_rotated_at,
        )

    @property
    def secret(self) -> str:
        """Return the signing secret, in the form that Standard Webhooks libraries take."""
        return signing.as_secret(self.keys[0])
