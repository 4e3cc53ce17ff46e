from executions.models.client import Client, Role
from executions.models.delivery import Delivery, DeliveryAttempt, DeliveryStatus
from executions.models.egress import EgressRequest, EgressRule, Refusal
from executions.models.execution import Artifact, Execution, InputFile, Mode, Outcome, Status
from executions.models.output import OutputChunk
from executions.models.provenance import PINNED, STARTED_FROM
from executions.models.sandbox import Sandbox, SandboxState
from executions.models.token import Token, hash_token
from executions.models.usage import ClientUsage

__all__ = [
    "PINNED",
    "STARTED_FROM",
    "Artifact",
    "Client",
    "ClientUsage",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryStatus",
    "EgressRequest",
    "EgressRule",
    "Execution",
    "InputFile",
    "Mode",
    "Outcome",
    "OutputChunk",
    "Refusal",
    "Role",
    "Sandbox",
    "SandboxState",
    "Status",
    "Token",
    "hash_token",
]
