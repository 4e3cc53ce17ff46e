"""The environment with agent frameworks, which tests start programs in."""

import fcntl
from pathlib import Path

from scripts.setup.host import ROOT
from scripts.setup.python_env import FRAMEWORKS, synchronise

ENVIRONMENT = ROOT / ".setup/frameworks"


def python() -> Path:
    """Its interpreter. The first test that needs it makes it."""
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    with (ENVIRONMENT.parent / "frameworks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        synchronise(ENVIRONMENT, FRAMEWORKS)
    return ENVIRONMENT / "bin/python"
