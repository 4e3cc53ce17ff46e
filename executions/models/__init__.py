from executions.models.client import Client, Role
from executions.models.execution import Artifact, Execution, InputFile, Mode, Outcome, Status
from executions.models.sandbox import Sandbox, SandboxState
from executions.models.token import Token, hash_token
from executions.models.usage import ClientUsage

__all__ = [
    "Artifact",
    "Client",
    "ClientUsage",
    "Execution",
    "InputFile",
    "Mode",
    "Outcome",
    "Role",
    "Sandbox",
    "SandboxState",
    "Status",
    "Token",
    "hash_token",
]
