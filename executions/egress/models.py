"""What programs may reach, and what they tried to."""

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
    """As rules are stored and hosts compared: lower case, ASCII, without the root's dot."""
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
        raise ValidationError(f"{domain!r} is not a domain: write example.com, or .example.com with all below it.")
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        raise ValidationError("Addresses cannot be allowed, only names: write example.com.")
    if len(labels) < 2:
        raise ValidationError(f"{domain!r} is a single label: name a domain below it, like example.com.")


def covers(domain: str, host: str) -> bool:
    """Whether a rule for `domain` is about `host`, both in their normal form."""
    return host == domain.removeprefix(".") or domain.startswith(".") and host.endswith(domain)


class EgressRuleQuerySet(models.QuerySet["EgressRule"]):
    def applying(self, *, runtime_id: int, client_id: int | None) -> "EgressRuleQuerySet":
        return self.filter(
            Q(runtime=None) | Q(runtime_id=runtime_id), Q(client=None) | Q(client_id=client_id), enabled=True
        )


class EgressRule(models.Model):
    """A line of the allow-list. What no rule names is refused."""

    domain = models.CharField(
        max_length=LONGEST_NAME,
        help_text="example.com, and nothing else; or .example.com, with everything below it. Ports 80 and 443.",
    )
    runtime = models.ForeignKey(
        Runtime,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="egress_rules",
        help_text="Empty: every runtime that has egress.",
    )
    client = models.ForeignKey(
        Client,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="egress_rules",
        help_text="Empty: every client that has egress.",
    )
    enabled = models.BooleanField(default=True, help_text="When off, it allows nothing, from the next request on.")
    note = models.CharField(max_length=200, blank=True, help_text="Why it is there.")
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
        # Before the constraint is looked at: two spellings of one domain are one rule.
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
    """Why a request was not passed on."""

    NOT_ALLOWED = "not_allowed", "The host is on no rule of the allow-list"
    NO_EGRESS = "no_egress", "The run has no egress, or has it no more"
    PORT = "port", "Another port than 80 and 443"
    METHOD = "method", "A request that the proxy does not pass on"
    ADDRESS = "address", "The host has a private, local or otherwise reserved address"
    UNKNOWN_HOST = "unknown_host", "The host has no address"
    LIMIT = "limit", "More requests than one run may make: the later ones are refused and not recorded"
    MALFORMED = "malformed", "Not a request that the proxy understands"


class EgressRequest(models.Model):
    """One request of a program. The row is written before the request is passed on: none goes out unrecorded. The
    second half is filled in once, when it is over."""

    execution = models.ForeignKey(Execution, on_delete=models.PROTECT, related_name="egress_requests")
    at = models.DateTimeField()
    method = models.CharField(max_length=20)
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField()
    allowed = models.BooleanField()
    reason = models.CharField(max_length=12, choices=Refusal.choices, blank=True)

    ended_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status that the program was given.")
    address = models.GenericIPAddressField(null=True, help_text="What was connected to.")
    bytes_sent = models.PositiveBigIntegerField(null=True, help_text="By the program.")
    bytes_received = models.PositiveBigIntegerField(null=True, help_text="By the program.")

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
