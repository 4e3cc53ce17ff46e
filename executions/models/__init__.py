from executions.models.client import Client, hash_token
from executions.models.execution import Artifact, Execution, Mode, Outcome, Status
from executions.models.sandbox import Sandbox, SandboxState

__all__ = [
    "Artifact",
    "Client",
    "Execution",
    "Mode",
    "Outcome",
    "Sandbox",
    "SandboxState",
    "Status",
    "hash_token",
]
