from executions.models.client import Client, hash_token
from executions.models.execution import Artifact, Execution, InputFile, Mode, Outcome, Status
from executions.models.sandbox import Sandbox, SandboxState

__all__ = [
    "Artifact",
    "Client",
    "Execution",
    "InputFile",
    "Mode",
    "Outcome",
    "Sandbox",
    "SandboxState",
    "Status",
    "hash_token",
]
