"""Assemble a node's keeper: its pool, the executions that the pool serves, and the jobs of all apps."""

from executions.occupancy import Executions
from sandbox_platform.kit import jobs
from sandbox_platform.kit.services import Service
from sandboxes.engine import Engine
from sandboxes.keeper import Keeper


def build_keeper(engine: Engine) -> Keeper:
    return Keeper(engine, Executions(), jobs.of(Service.KEEPER))
