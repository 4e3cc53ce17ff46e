import pytest

from tests.sandboxes.guest import engine
from tests.sandboxes.runner import cgroups, ends

__all__ = ["cgroups", "ends", "engine"]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()
