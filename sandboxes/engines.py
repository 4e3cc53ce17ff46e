"""Chooses the engine of this node."""

import functools

from django.conf import settings

from sandboxes.direct.engine import DirectEngine
from sandboxes.docker_engine import DockerEngine
from sandboxes.engine import Engine

ENGINES = {"docker": DockerEngine, "direct": DirectEngine}


@functools.cache
def get_engine() -> Engine:
    """Return the engine that starts this node's sandboxes."""
    engine: Engine = ENGINES[settings.SANDBOX_ENGINE]()
    return engine
