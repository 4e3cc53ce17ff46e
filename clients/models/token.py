import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from clients.models.client import Client

LAST_USED_STEP = timedelta(minutes=10)
PREFIX = 6
LONG_ENOUGH_TO_SHOW_A_PREFIX = 32


def hash_token(token: str) -> str:
    # Tokens are 256 random bits, so a plain hash cannot be guessed back; a slow one would cost every call.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class TokenQuerySet(models.QuerySet["Token"]):
    def usable(self) -> "TokenQuerySet":
        unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
        return self.filter(unexpired, revoked_at__isnull=True, client__enabled=True)

    def issue(self, client: Client, *, token: str = "", **fields: Any) -> tuple["Token", str]:
        """A further token for the client, and its text, random unless given, which is kept nowhere."""
        text = token or secrets.token_urlsafe(32)
        prefix = text[:PREFIX] if len(text) >= LONG_ENOUGH_TO_SHOW_A_PREFIX else ""
        return self.create(client=client, token_sha256=hash_token(text), prefix=prefix, **fields), text

    @transaction.atomic
    def rotate(self, client: Client, *, overlap: timedelta, token: str = "") -> tuple["Token", str]:
        """A new token. The ones in use go on working for `overlap`, but never longer than they would have."""
        until = timezone.now() + overlap
        outlive = Q(expires_at__isnull=True) | Q(expires_at__gt=until)
        self.filter(outlive, client=client, revoked_at__isnull=True).update(expires_at=until)
        return self.issue(client, token=token)


class Token(models.Model):
    """A secret that stands for a client, of which only the hash is kept.

    Why our own and not djangorestframework-api-key: its keys are of its own making only, come in one header, and
    know neither rotation nor last use. Here the token may be given (RAGFlow's .env) and comes in three headers.
    What is left for a library would be one hash.
    """

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100, blank=True, help_text="What it is for, e.g. the host that keeps it.")
    prefix = models.CharField(
        "begins with",
        max_length=PREFIX,
        blank=True,
        editable=False,
        help_text="To recognise it by. Not kept of a short one, which would be easier to guess.",
    )
    token_sha256 = models.CharField("SHA-256", max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="UTC. From then on, calls with it are answered with 401. Empty: never."
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(
        "last used", null=True, editable=False, help_text="UTC, to about ten minutes."
    )

    objects = TokenQuerySet.as_manager()

    class Meta:
        db_table = "executions_token"
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name or f"{self.prefix}… of {self.created_at:%Y-%m-%d}"

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def refusal(self) -> str:
        """Why it lets nobody in, and what helps; "" if it does."""
        if self.revoked_at:
            return "This API token was revoked. Ask an administrator for a new one."
        if self.is_expired(timezone.now()):
            return f"This API token expired at {self.expires_at:%Y-%m-%d %H:%M} UTC. Ask for a new one."
        if not self.client.enabled:
            return f"The client {self.client} is switched off. An administrator can enable it."
        return ""

    def note_use(self) -> None:
        """Coarse: one call in ten minutes pays for a write, all others nothing."""
        now = timezone.now()
        if self.last_used_at and now - self.last_used_at < LAST_USED_STEP:
            return
        unnoted = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - LAST_USED_STEP)
        Token.objects.filter(unnoted, pk=self.pk).update(last_used_at=now)

    def revoke(self) -> None:
        """At once and for good."""
        Token.objects.filter(pk=self.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
