"""Sources for facts about a runtime that higher rooms know."""

from dataclasses import dataclass
from typing import Any

from runtimes.models import Runtime
from sandbox_platform.kit.sources import Source


@dataclass(frozen=True)
class IdleMemory:
    """Memory of an idle warm sandbox, in bytes, and where that figure comes from."""

    bytes: int
    source: str


idle_memory: Source[[Runtime], IdleMemory] = Source("the memory of an idle sandbox of a runtime")
# The build whose image the runtime runs, or None. It has `pk`, `number` and `image_id`.
live_build: Source[[Runtime], Any] = Source("which build of a runtime is live")
