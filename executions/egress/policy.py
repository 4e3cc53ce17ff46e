"""Decide and record which requests of a program may leave its sandbox."""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Case, Sum, Value, When
from django.utils import timezone

from clients.network import network_of
from executions.egress.models import PORTS, EgressRequest, EgressRule, Refusal, covers, normal_domain
from executions.models import Execution, Status
from runtimes.models import Network

LONGEST = {"method": 20, "host": 255}
HIGHEST_PORT = 65535


def network_for(execution: Execution) -> Network:
    """Return the network for a run that is about to start: the one of its submission, unless it lost egress since."""
    if execution.network == Network.NONE:
        return Network.NONE
    return network_of(execution.runtime, execution.client)


def rules_for(execution: Execution) -> list[dict[str, object]]:
    """Return the present allow-list for the execution, as JSON for its row."""
    rules = EgressRule.objects.applying(runtime_id=execution.runtime_id, client_id=execution.client_id)
    return [rule.as_recorded() for rule in rules.select_related("runtime", "client")]


def settle(execution: Execution) -> None:
    """Store network and allow-list in the row of a claimed execution, before its program starts."""
    network = network_for(execution)
    rules = rules_for(execution) if network == Network.EGRESS else []
    if (execution.network, execution.egress_rules) != (network, rules):
        execution.network, execution.egress_rules = network, rules
        Execution.objects.open().filter(pk=execution.pk).update(network=network, egress_rules=rules)


@dataclass(frozen=True)
class ProxyRequest:
    """A program's request to the proxy. Port 0: not a valid number."""

    execution_id: UUID
    method: str
    host: str
    port: int

    @classmethod
    def of(cls, execution_id: UUID, method: str, host: str, port: str) -> "ProxyRequest":
        number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
        return cls(execution_id, method, host, min(number, HIGHEST_PORT))


def decide(request: ProxyRequest, seen: int = 0, *, spent: bool = False) -> EgressRequest | None:
    """Decide and record a request. Return its row, whose `allowed` says whether the proxy may forward it.

    Returns None, and records nothing, if the execution does not exist or is past its request limit.
    `seen`: number of earlier requests of the same execution. `spent`: it has used up SANDBOX_EGRESS_BYTES.
    """
    # The gateway's role in Postgres sees no other column, and of runtimes and clients only these.
    executions = Execution.objects.select_related("runtime", "client").only(
        "status", "network", "runtime__network", "client__network"
    )
    execution = executions.filter(pk=request.execution_id).order_by("pk").first()
    if execution is None or seen > settings.SANDBOX_EGRESS_REQUESTS:
        return None
    if seen == settings.SANDBOX_EGRESS_REQUESTS:
        return record(request, Refusal.LIMIT)
    return record(request, Refusal.BYTES if spent else _reason(request, execution))


def bytes_of(execution_id: UUID) -> int:
    """Return how many bytes the execution's ended requests have sent and received."""
    ended = EgressRequest.objects.filter(execution=execution_id).order_by()
    sums = ended.aggregate(sent=Sum("bytes_sent"), received=Sum("bytes_received"))
    return (sums["sent"] or 0) + (sums["received"] or 0)


def count_of(execution_id: UUID) -> int:
    """Return how many requests of the execution are recorded."""
    return EgressRequest.objects.filter(execution=execution_id).order_by().count()


def _reason(request: ProxyRequest, execution: Execution) -> str:
    """Return the reason to refuse the request under the present rules, or "" to allow it."""
    if execution.status != Status.RUNNING or execution.network != Network.EGRESS:
        return Refusal.NO_EGRESS
    if network_of(execution.runtime, execution.client) != Network.EGRESS:
        return Refusal.NO_EGRESS
    if request.port not in PORTS:
        return Refusal.PORT
    try:
        host = normal_domain(request.host)
    except ValidationError:
        return Refusal.NOT_ALLOWED
    rules = EgressRule.objects.applying(runtime_id=execution.runtime_id, client_id=execution.client_id)
    if any(covers(domain, host) for domain in rules.values_list("domain", flat=True)):
        return ""
    return Refusal.NOT_ALLOWED


def record(request: ProxyRequest, reason: str) -> EgressRequest:
    return EgressRequest.objects.create(
        execution_id=request.execution_id,
        at=timezone.now(),
        method=_printable(request.method, LONGEST["method"]),
        host=_printable(request.host, LONGEST["host"]),
        port=request.port,
        allowed=not reason,
        reason=reason,
    )


def _printable(text: str, longest: int) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)[:longest]


@dataclass(frozen=True)
class CompletedRequest:
    """The proxy's report of a request that has ended."""

    request: ProxyRequest
    request_id: int | None  # None: the proxy refused the request without a decision
    denied: bool
    reason: str
    status: int | None
    address: str | None
    bytes_sent: int | None
    bytes_received: int | None


def complete(ended: CompletedRequest, *, spent: bool = False) -> bool:
    """Store the end of a request. Return False if the execution does not exist or the row is already complete.

    `spent`: the execution has used up SANDBOX_EGRESS_BYTES, which ended the request.
    """
    request_id = ended.request_id
    if request_id is None:
        if not Execution.objects.filter(pk=ended.request.execution_id).exists():
            return False
        known = ended.reason in Refusal.values
        request_id = record(ended.request, ended.reason if known else Refusal.MALFORMED).pk
    rows = EgressRequest.objects.filter(
        pk=request_id, execution_id=ended.request.execution_id, ended_at__isnull=True
    )
    values = {
        "ended_at": timezone.now(),
        "status": ended.status,
        "address": ended.address,
        "bytes_sent": ended.bytes_sent,
        "bytes_received": ended.bytes_received,
    }
    if ended.denied and ended.reason in Refusal.values:
        # The rules allowed the host, but the proxy refused its address.
        found = rows.filter(allowed=True).update(**values, allowed=False, reason=ended.reason)
        if found:
            return True
    return bool(rows.update(**values, cut=Case(When(allowed=True, then=Value(spent)), default=Value(False))))
