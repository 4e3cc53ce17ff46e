"""The allow-list, and the records of programs' requests."""

import re

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from clients.models.client import Client
from executions.models.execution import Execution
from runtimes.models import Runtime

LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
LONGEST_NAME = 253
PORTS = (80, 443)


def normal_domain(text: str) -> str:
    """Return the domain in the form in which rules are stored and compared: lower case, IDNA, no trailing dot."""
    name = text.strip().lower()
    if not name.isascii():
        dot, name = ("." if name.startswith(".") else ""), name.removeprefix(".")
        try:
            name = dot + name.encode("idna").decode()
        except UnicodeError as e:
            raise ValidationError(f"{text!r} is not a domain: {e}.") from e
    return name.removesuffix(".") if len(name) > 1 else name


def validate_domain(domain: str) -> None:
    labels = domain.removeprefix(".").split(".")
    if len(domain) > LONGEST_NAME or not all(map(LABEL.fullmatch, labels)):
        raise ValidationError(
            f"{domain!r} is not a domain: write example.com, or .example.com to include its subdomains."
        )
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        raise ValidationError("Addresses cannot be allowed, only names such as example.com.")
    if len(labels) < 2:
        raise ValidationError(f"{domain!r} is a single label: write a domain such as example.com.")


def covers(domain: str, host: str) -> bool:
    """Return whether a rule for `domain` applies to `host`, both in normal form."""
    return host == domain.removeprefix(".") or domain.startswith(".") and host.endswith(domain)


class EgressRuleQuerySet(models.QuerySet["EgressRule"]):
    def applying(self, *, runtime_id: int, client_id: int | None) -> "EgressRuleQuerySet":
        return self.filter(
            Q(runtime=None) | Q(runtime_id=runtime_id), Q(client=None) | Q(client_id=client_id), enabled=True
        )


class EgressRule(models.Model):
    """An entry of the allow-list. Hosts without a rule are refused."""

    domain = models.CharField(
        max_length=LONGEST_NAME,
        help_text="example.com for this host only, or .example.com to include its subdomains. Ports 80 and 443.",
    )
    runtime = models.ForeignKey(
        Runtime,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="egress_rules",
        help_text="Empty: all runtimes with egress.",
    )
    client = models.ForeignKey(
        Client,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="egress_rules",
        help_text="Empty: all clients with egress.",
    )
    enabled = models.BooleanField(
        default=True, help_text="A disabled rule allows nothing, from the next request on."
    )
    note = models.CharField(max_length=200, blank=True, help_text="Reason for the rule.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EgressRuleQuerySet.as_manager()

    class Meta:
        db_table = "executions_egressrule"
        ordering = ["domain", "id"]
        verbose_name = "egress rule"
        constraints = [
            models.UniqueConstraint(
                fields=["domain", "runtime", "client"], nulls_distinct=False, name="egress_rule_once"
            ),
        ]

    def __str__(self) -> str:
        return self.domain

    def clean_fields(self, exclude: object = None) -> None:
        # Normalize before the unique constraint is checked: two spellings of a domain are one rule.
        self.domain = normal_domain(self.domain)
        super().clean_fields(exclude)  # type: ignore[arg-type]
        try:
            validate_domain(self.domain)
        except ValidationError as e:
            raise ValidationError({"domain": e.messages}) from e

    def as_recorded(self) -> dict[str, object]:
        return {
            "domain": self.domain,
            "runtime": self.runtime_id and str(self.runtime),
            "client": self.client_id and str(self.client),
        }


class Refusal(models.TextChoices):
    """Why a request was refused."""

    NOT_ALLOWED = "not_allowed", "Host not on the allow-list"
    NO_EGRESS = "no_egress", "No egress"  # the run never had it, or has ended
    PORT = "port", "Port not allowed"
    METHOD = "method", "Method not allowed"
    ADDRESS = "address", "Private or reserved address"
    UNKNOWN_HOST = "unknown_host", "Host not found"
    BYTES = "bytes", "Byte limit reached"
    LIMIT = "limit", "Request limit reached"  # later requests are refused and not recorded
    MALFORMED = "malformed", "Malformed request"


class EgressRequest(models.Model):
    """One request of a program.

    The row is written before the request leaves, so that no request goes unrecorded. The fields from `ended_at` on
    are filled in once, when the request has ended.
    """

    execution = models.ForeignKey(Execution, on_delete=models.PROTECT, related_name="egress_requests")
    at = models.DateTimeField()
    method = models.CharField(max_length=20)
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField()
    allowed = models.BooleanField()
    reason = models.CharField(max_length=12, choices=Refusal.choices, blank=True)

    ended_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status that the program received.")
    address = models.GenericIPAddressField(null=True, help_text="Address that the proxy connected to.")
    cut = models.BooleanField(
        default=False, db_default=False, help_text="Ended because the run had used up SANDBOX_EGRESS_BYTES."
    )
    bytes_sent = models.PositiveBigIntegerField(null=True, help_text="Bytes that the program sent.")
    bytes_received = models.PositiveBigIntegerField(null=True, help_text="Bytes that the program received.")

    class Meta:
        db_table = "executions_egressrequest"
        ordering = ["id"]
        verbose_name = "egress request"
        constraints = [
            models.CheckConstraint(
                condition=Q(allowed=True, reason="") | Q(allowed=False) & ~Q(reason=""),
                name="egress_refused_iff_reason",
            ),
            models.CheckConstraint(condition=Q(reason__in=["", *Refusal.values]), name="egress_reason_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.host}:{self.port}"

    @property
    def duration_ms(self) -> float | None:
        return (self.ended_at - self.at).total_seconds() * 1000 if self.ended_at else None
