from executions.models.client import Client
from executions.models.execution import Artifact, Execution, Mode, Outcome, Status
from executions.models.sandbox import Sandbox, SandboxState
from executions.models.token import Token, hash_token

__all__ = [
    "Artifact",
    "Client",
    "Execution",
    "Mode",
    "Outcome",
    "Sandbox",
    "SandboxState",
    "Status",
    "Token",
    "hash_token",
]
