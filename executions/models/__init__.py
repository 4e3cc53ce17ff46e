from executions.models.client import Client, hash_token
from executions.models.delivery import Delivery, DeliveryAttempt, DeliveryStatus
from executions.models.execution import Artifact, Execution, Mode, Outcome, Status
from executions.models.output import OutputChunk
from executions.models.sandbox import Sandbox, SandboxState

__all__ = [
    "Artifact",
    "Client",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryStatus",
    "Execution",
    "Mode",
    "Outcome",
    "OutputChunk",
    "Sandbox",
    "SandboxState",
    "Status",
    "hash_token",
]
