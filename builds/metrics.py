"""Figures of builds."""

from collections.abc import Iterator

from builds import services
from sandbox_platform.kit.metrics import Figure, Reading, Value, declare

FIGURES = (Figure("builder_up", "Whether a builder is alive; nothing where workers make builds."),)


def read() -> Iterator[Value]:
    if services.needs_builder():
        yield Value("builder_up", float(not services.builder_is_gone()))


declare(Reading(FIGURES, read))
