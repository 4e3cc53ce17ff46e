"""Looks at everything an installation stands on; one small function a check."""

from sandbox_platform.doctor.check import Check, Status
from sandbox_platform.doctor.run import run_all

__all__ = ["Check", "Status", "run_all"]
