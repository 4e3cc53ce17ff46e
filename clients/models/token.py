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
PREFIX_MIN_LENGTH = 32  # of a token whose prefix is stored


def hash_token(token: str) -> str:
    # A token has 256 random bits, so a fast hash is safe against guessing. A slow one would delay every call.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class TokenQuerySet(models.QuerySet["Token"]):
    def usable(self) -> "TokenQuerySet":
        unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
        return self.filter(unexpired, revoked_at__isnull=True, client__enabled=True)

    def issue(self, client: Client, *, token: str = "", **fields: Any) -> tuple["Token", str]:
        """Create a token for the client, and return it with its text: random if not given, and not stored."""
        text = token or secrets.token_urlsafe(32)
        prefix = text[:PREFIX] if len(text) >= PREFIX_MIN_LENGTH else ""
        return self.create(client=client, token_sha256=hash_token(text), prefix=prefix, **fields), text

    @transaction.atomic
    def rotate(self, client: Client, *, overlap: timedelta, token: str = "") -> tuple["Token", str]:
        """Issue a new token. Existing tokens expire after `overlap`, or earlier if they would have expired anyway."""
        until = timezone.now() + overlap
        outlive = Q(expires_at__isnull=True) | Q(expires_at__gt=until)
        self.filter(outlive, client=client, revoked_at__isnull=True).update(expires_at=until)
        return self.issue(client, token=token)


class Token(models.Model):
    """A client's secret for the API, stored as a hash.

    djangorestframework-api-key does not fit: it only accepts keys that it generated, in one header, and supports
    neither rotation nor last use. Here the token may be given (RAGFlow's .env) and may come in three ways. All that
    the library would contribute is one hash.
    """

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(
        max_length=100, blank=True, help_text="Purpose of the token, e.g. the host that uses it."
    )
    prefix = models.CharField(
        "begins with",
        max_length=PREFIX,
        blank=True,
        editable=False,
        help_text="First characters, to recognise the token. Not stored for short tokens, which are easier to guess.",
    )
    token_sha256 = models.CharField("SHA-256", max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Time (UTC) from which calls with the token are refused with 401. Empty: never.",
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(
        "last used", null=True, editable=False, help_text="Time (UTC), accurate to about ten minutes."
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
        """Return why the token is refused, and the remedy; "" if it is valid."""
        if self.revoked_at:
            return "This API token was revoked. Ask an administrator for a new one."
        if self.is_expired(timezone.now()):
            return f"This API token expired at {self.expires_at:%Y-%m-%d %H:%M} UTC. Ask for a new one."
        if not self.client.enabled:
            return f"The client {self.client} is disabled. An administrator can enable it."
        return ""

    def note_use(self) -> None:
        """Record the time of use, at most once in ten minutes, so that most calls cost no write."""
        now = timezone.now()
        if self.last_used_at and now - self.last_used_at < LAST_USED_STEP:
            return
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - LAST_USED_STEP)
        Token.objects.filter(stale, pk=self.pk).update(last_used_at=now)

    def revoke(self) -> None:
        """Revoke the token immediately and permanently."""
        Token.objects.filter(pk=self.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
