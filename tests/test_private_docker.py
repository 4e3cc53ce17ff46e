"""The Docker Engine that tests have to themselves goes with them, also if it never comes up."""

from pathlib import Path

import pytest

from tests import private_docker as module
from tests.private_docker import PrivateDocker, private_docker

pytestmark = pytest.mark.needs_docker


def test_engine_that_never_answers_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[PrivateDocker] = []

    class Deaf(PrivateDocker):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            made.append(self)

        def _answers(self) -> bool:
            return False

    monkeypatch.setattr(module, "PrivateDocker", Deaf)
    monkeypatch.setattr(module, "START_S", 1)
    with pytest.raises(AssertionError, match="Docker answers"), private_docker():
        pytest.fail("it has started")
    (engine,) = made
    assert (engine.pid, engine.processes(), engine.sockets.exists()) == (None, [], False)
