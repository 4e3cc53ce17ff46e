"""Checks of everything that an installation depends on. Each check is one small function."""

from sandbox_platform.doctor.check import Check, Status
from sandbox_platform.doctor.run import run_all

__all__ = ["Check", "Status", "run_all"]
