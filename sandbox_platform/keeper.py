"""A node's keeper: its pool, what the pool must know about executions, and the jobs of all rooms."""

from executions.occupancy import Executions
from sandbox_platform.kit import jobs
from sandboxes.engine import Engine
from sandboxes.keeper import Keeper


def keeper_of(engine: Engine) -> Keeper:
    return Keeper(engine, Executions(), jobs.declared())
