import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.setup import starting
from scripts.setup.host import SetupError
from scripts.setup.starting import Services, not_ready, up, wait_healthy
from tests.live import eventually

UP = {"State": "running", "Health": ""}
HEALTHY = {"State": "running", "Health": "healthy"}
STARTING = {"State": "running", "Health": "starting"}
ALL_UP = {"postgres": HEALTHY, "web": HEALTHY, "worker": UP, "keeper": UP}
WANTED = tuple(ALL_UP)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "LOOK_S", 0.01)
    monkeypatch.setattr(starting, "compose", lambda *words: ["echo", *words])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that passes only while the code sleeps, so that a busy machine has no say."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(starting, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))


def looks(*seen: Services) -> Callable[[], Services]:
    """What is seen at one look after the other; the last for good."""
    left = list(seen)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_a_running_stack_is_ready() -> None:
    assert not_ready(WANTED, ALL_UP) == []


def test_a_service_that_is_missing_restarting_or_not_yet_healthy_is_not() -> None:
    found = {**ALL_UP, "web": STARTING, "worker": {"State": "restarting", "Health": ""}}
    del found["keeper"]
    assert not_ready(WANTED, found) == ["web", "worker", "keeper"]


@pytest.mark.usefixtures("clock")
def test_services_that_get_further_are_waited_for_beyond_the_time_that_each_step_has() -> None:
    steps: list[Services] = [{}]
    for name, state in ALL_UP.items():
        steps += [{**steps[-1], name: STARTING}] * 20
        steps += [{**steps[-1], name: state}] * 20
    wait_healthy(WANTED, looks(*steps), still_s=0.6)


@pytest.mark.usefixtures("clock")
def test_time_in_which_docker_did_not_answer_counts_little() -> None:
    slow = iter([{**ALL_UP, "web": STARTING}, {}, {}, ALL_UP])

    def look() -> Services:
        starting.time.sleep(3 * starting.COUNTED_S)
        return next(slow)

    wait_healthy(WANTED, look, still_s=3 * starting.COUNTED_S)


@pytest.mark.usefixtures("clock")
def test_services_that_stand_still_are_named_with_what_they_are_and_may_be_waited_for_again() -> None:
    with pytest.raises(
        SetupError, match="web not healthy after .* none of them got further.*web starting"
    ) as error:
        wait_healthy(WANTED, looks({**ALL_UP, "web": STARTING}), still_s=0.05)
    assert "make start waits for them again" in error.value.fix


@pytest.mark.usefixtures("clock")
def test_service_that_ends_again_and_again_gets_no_further() -> None:
    ends = {**ALL_UP, "web": {"State": "restarting", "Health": ""}}
    turns = [ends if turn % 2 else {**ALL_UP, "web": STARTING} for turn in range(10_000)]
    with pytest.raises(SetupError) as error:
        wait_healthy(WANTED, looks(*turns[:9_999], ends), still_s=0.2)
    assert "correct the cause" in error.value.fix or "make logs" in error.value.fix


def test_migrations_have_the_time_that_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "services", lambda _: {"postgres": HEALTHY, "migrate": UP})
    up(["sh", "-c", "sleep 0.5"], still_s=0.1)


def test_start_without_any_progress_ends_compose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(starting, "services", lambda _: {"postgres": STARTING})
    with pytest.raises(SetupError, match="postgres starting"):
        up(["sh", "-c", f"sleep 30; touch {tmp_path}/done"], still_s=0.1)
    assert not (tmp_path / "done").exists()


def test_failed_start_shows_what_compose_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "services", lambda _: {})
    with pytest.raises(SetupError, match="no such image"):
        up(["sh", "-c", "echo no such image >&2; exit 1"])


def test_a_daemon_that_does_not_answer_shows_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "compose", lambda *words: ["sleep", "30"])
    began = time.monotonic()
    assert starting.services(0.1) == {}
    with pytest.raises(SetupError, match="no container yet"):
        up(["sh", "-c", "sleep 30"], still_s=0.3)
    assert time.monotonic() - began < 20


def test_docker_may_take_as_long_to_answer_as_the_services_may_stand_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float] = []

    def services(timeout_s: float) -> Services:
        given.append(timeout_s)
        return {"migrate": UP}

    monkeypatch.setattr(starting, "services", services)
    up(["sh", "-c", "sleep 0.2"], still_s=400)
    assert set(given) == {400}


def test_compose_that_does_not_end_when_told_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"

    def services(timeout_s: float) -> Services:
        eventually(deaf.exists, "the shell ignores TERM")
        return {"postgres": STARTING}

    monkeypatch.setattr(starting, "services", services)
    monkeypatch.setattr(starting, "KILL_S", 0.3)
    began = time.monotonic()
    with pytest.raises(SetupError, match="not done"):
        up(
            ["sh", "-c", f"trap '' TERM; echo $$ > {deaf}.new; mv {deaf}.new {deaf}; while :; do sleep 0.1; done"],
            still_s=0.5,
        )
    assert time.monotonic() - began < 20
    assert not Path(f"/proc/{deaf.read_text().strip()}").exists()
