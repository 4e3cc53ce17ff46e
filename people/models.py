"""Who a person is at the OpenID provider, how they logged in, and links with which a locked-out person comes back."""

import hashlib
from datetime import timedelta
from secrets import token_urlsafe

import pgtrigger
from axes.models import AccessLog
from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone

LINK_LASTS = timedelta(minutes=15)


class Identity(models.Model):
    """A person of an OpenID provider, and the user that they are here. The audit trail watches this table."""

    # Both together name a person. A subject of another provider is another person.
    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)
    user = models.OneToOneField(User, on_delete=models.PROTECT, related_name="identity")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()
        verbose_name = "identity of a user"
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="identity_once")]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class First(models.TextChoices):
    PASSWORD = "password", "password"
    PASSKEY = "passkey", "passkey"
    OPENID = "openid", "OpenID Connect"
    RECOVERY = "recovery", "recovery link"


class Second(models.TextChoices):
    """Second factors. The values are django-allauth's."""

    TOTP = "totp", "authenticator app"
    RECOVERY_CODES = "recovery_codes", "recovery code"
    WEBAUTHN = "webauthn", "security key"


class LoginMethod(models.Model):
    """How somebody logged in: what the server checked, never what the browser says. A row of the logins has one.

    Rows that the platform did not have yet when it began to keep methods have none.
    """

    # No constraint: it stays as it is, whatever becomes of the row.
    login = models.OneToOneField(
        AccessLog,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        primary_key=True,
        related_name="method",
    )
    # Empty if the session does not say.
    first = models.CharField(max_length=10, choices=First.choices, blank=True)
    second = models.CharField(max_length=20, choices=Second.choices, blank=True)
    issuer = models.CharField(max_length=500, blank=True)

    class Meta:
        default_permissions = ()
        triggers = [
            pgtrigger.Protect(name="methods_are_final", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        """Return it as the trail and the lists say it, e.g. "password and authenticator app"."""
        first = f"{First.OPENID.label} ({self.issuer})" if self.first == First.OPENID else self.get_first_display()
        return " and ".join(filter(None, (first, self.get_second_display()))) or "unknown"


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class RecoveryLinkQuerySet(models.QuerySet["RecoveryLink"]):
    def issue(self, user: User) -> str:
        """Store a link for the user in place of those before, and return its token."""
        self.filter(user=user, used_at=None).update(used_at=timezone.now())
        token = token_urlsafe(32)
        self.create(user=user, token_sha256=_hashed(token))
        return token

    def usable(self, token: str) -> "RecoveryLinkQuerySet":
        young = timezone.now() - LINK_LASTS
        return self.filter(token_sha256=_hashed(token), used_at=None, created_at__gt=young, user__is_active=True)

    def use(self, token: str) -> User | None:
        """Return whose link it is, once; None if it is unknown, used or too old."""
        link = self.usable(token).select_related("user").first()
        if link is None or not self.filter(pk=link.pk, used_at=None).update(used_at=timezone.now()):
            return None
        return link.user


class RecoveryLink(models.Model):
    """A login without password and second factor, made by `manage.py recover` on the host. It works once."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True)

    objects = RecoveryLinkQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"recovery link of {self.user}"
