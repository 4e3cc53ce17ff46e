import os
from pathlib import Path
from typing import Any

import pytest

from executions.acquisition import attach_to_living
from sandboxes.direct import channel
from sandboxes.engine import EngineError
from sandboxes.models import Sandbox


class OfFifos:
    """What of the direct engine gives a channel."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def attach(self, _sandbox: str) -> channel.FifoChannel:
        return channel.FifoChannel(self._folder)


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    channel.make(tmp_path)
    return OfFifos(tmp_path)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_warm_sandbox_that_died_is_noticed_though_its_fifos_are_there(engine: Any) -> None:
    """Otherwise the run that has claimed it ends as a platform error."""
    before = descriptors()
    with pytest.raises(EngineError, match="attach"):
        attach_to_living(engine, Sandbox(container_id="dead"))
    assert descriptors() == before


def test_a_warm_sandbox_that_reads_is_attached_to(engine: Any, tmp_path: Path) -> None:
    reader = os.open(tmp_path / "stdin", os.O_RDONLY | os.O_NONBLOCK)
    try:
        attached = attach_to_living(engine, Sandbox(container_id="alive"))
        attached.send(b"program")
        assert os.read(reader, 100) == b"program"
        attached.close()
    finally:
        os.close(reader)
