"""Waiting for the hello of a runner that the test plays itself."""

import time

import pytest

from sandboxes.cgroup import Usage
from sandboxes.docker_engine import DockerChannel
from sandboxes.engine import EngineError
from sandboxes.session import wait_until_ready
from tests.sandboxes.runner import CONTAINER, Runner, frame


def test_hello_makes_a_sandbox_ready(ends: tuple[Runner, DockerChannel]) -> None:
    runner, channel = ends
    runner.say(frame(b"H", b'{"protocol": 2}'))
    wait_until_ready(channel, CONTAINER)


@pytest.mark.parametrize(
    "said",
    [frame(b"H", b'{"protocol": 1}'), frame(b"H", b'{"protocol": 20}'), frame(b"O", b"x"), b"bash: not found\n"],
    ids=["another version", "a version that begins alike", "another frame", "no runner of ours"],
)
def test_other_than_a_hello_is_an_error_of_the_engine(ends: tuple[Runner, DockerChannel], said: bytes) -> None:
    runner, channel = ends
    runner.say(said)
    with pytest.raises(EngineError):
        wait_until_ready(channel, CONTAINER)


def test_sandbox_that_ends_before_its_hello_is_explained_by_its_stderr(
    ends: tuple[Runner, DockerChannel],
) -> None:
    runner, channel = ends
    runner.say(b"no module named nothing", stream=2)
    runner.leave()
    with pytest.raises(EngineError, match="no module named nothing"):
        wait_until_ready(channel, CONTAINER)


def test_sandbox_that_never_says_hello_is_given_up(
    ends: tuple[Runner, DockerChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.session.READY_TIMEOUT_S", 0.2)
    with pytest.raises(EngineError, match="not ready"):
        wait_until_ready(ends[1], CONTAINER)


def test_sandbox_that_works_is_waited_for_longer_than_one_that_hangs(
    ends: tuple[Runner, DockerChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.session.READY_TIMEOUT_S", 0.1)
    runner, channel = ends
    looks: list[str] = []

    def usage(container_id: str) -> Usage:
        looks.append(container_id)
        if len(looks) == 3:
            runner.say(frame(b"H", b'{"protocol": 2}'))
        return Usage(1000 * len(looks), 1)

    monkeypatch.setattr("sandboxes.session.cgroup.usage", usage)
    wait_until_ready(channel, CONTAINER)
    assert looks == [CONTAINER] * 3


def test_sandbox_that_works_for_ever_is_given_up_and_told_from_one_that_hangs(
    ends: tuple[Runner, DockerChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.session.READY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("sandboxes.session.WORKING_TIMEOUT_S", 0.2)
    monkeypatch.setattr("sandboxes.session.cgroup.usage", lambda _: Usage(int(time.monotonic() * 1e6), 1))
    with pytest.raises(EngineError, match=r"not ready within .* s of CPU time"):
        wait_until_ready(ends[1], CONTAINER)
