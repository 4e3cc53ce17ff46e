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
# Why runs would not get an image, by its reference or id; "" if every node has it, or nobody knows.
missing_image: Source[[str], str] = Source("which images the nodes have")
# The build whose image the runtime runs, or None. It has `pk`, `number` and `image_id`.
live_build: Source[[Runtime], Any] = Source("which build of a runtime is live")
