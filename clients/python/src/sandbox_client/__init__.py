"""Python client of Sandbox Platform: programs run in fresh sandboxes, from code that blocks or awaits."""

from sandbox_client.artifacts import Artifact, Artifacts
from sandbox_client.clients import AsyncSandbox, Sandbox
from sandbox_client.errors import (
    Conflict,
    ConnectionFailed,
    Forbidden,
    InvalidArgument,
    InvalidRequest,
    NotFound,
    OverLimit,
    Problem,
    ProblemError,
    RunFailed,
    SandboxError,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from sandbox_client.models import Batch, Caller, Event, Execution, File, Runtime
from sandbox_client.programs import Limits, Program
from sandbox_client.retries import Retries
from sandbox_client.searching import Filters

__all__ = [
    "Artifact",
    "Artifacts",
    "AsyncSandbox",
    "Batch",
    "Caller",
    "Conflict",
    "ConnectionFailed",
    "Event",
    "Execution",
    "File",
    "Filters",
    "Forbidden",
    "InvalidArgument",
    "InvalidRequest",
    "Limits",
    "NotFound",
    "OverLimit",
    "Problem",
    "ProblemError",
    "Program",
    "Retries",
    "RunFailed",
    "Runtime",
    "Sandbox",
    "SandboxError",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "WaitTimeout",
]
