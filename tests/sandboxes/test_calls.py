import pytest

from sandboxes.calls import CALL_AGAIN_S, STALE_S, Calls, SandboxKind, as_payload, of_payload
from tests.sandboxes.conftest import Clock

PYTHON, NODEJS = (1, "none"), (2, "none")


@pytest.fixture
def due() -> list[str]:
    """The runs of Python that may claim now."""
    return ["a", "b"]


@pytest.fixture
def calls(clock: Clock, due: list[str]) -> Calls:
    def due_of(kind: SandboxKind) -> list[str]:
        return due if kind == PYTHON else []

    return Calls(due_of, clock)


def test_nobody_is_asked_about_while_nobody_waits(clock: Clock) -> None:
    def refuse(kind: SandboxKind) -> list[str]:
        raise AssertionError(kind)

    assert Calls(refuse, clock).next(PYTHON) == []


def test_those_whose_turn_it_is_are_called_once(calls: Calls) -> None:
    calls.waits(PYTHON, "a")
    assert (calls.next(PYTHON), calls.next(PYTHON)) == (["a", "b"], [])


def test_who_does_not_come_is_called_again(calls: Calls, clock: Clock) -> None:
    calls.waits(PYTHON, "a")
    calls.next(PYTHON)
    clock.now += CALL_AGAIN_S * 1.1
    assert calls.next(PYTHON) == ["a", "b"]


def test_who_came_in_vain_is_called_again_at_once(calls: Calls) -> None:
    calls.waits(PYTHON, "a")
    calls.next(PYTHON)
    calls.waits(PYTHON, "a")
    assert calls.next(PYTHON) == ["a"]


def test_each_kind_has_its_own(calls: Calls) -> None:
    calls.waits(NODEJS, "c")
    assert (calls.next(NODEJS), calls.next(PYTHON), calls.anyone(NODEJS)) == ([], [], True)


def test_payload_says_what_was_put_in() -> None:
    assert of_payload(as_payload((1, "egress"), "a")) == ((1, "egress"), "a")


def test_nobody_waits_after_who_waited_was_served(calls: Calls) -> None:
    calls.waits(PYTHON, "a")
    calls.served(PYTHON, "a")
    calls.served(PYTHON, "b")
    assert not calls.anyone(PYTHON)


def test_who_has_not_been_heard_of_for_a_while_does_not_wait(calls: Calls, clock: Clock) -> None:
    calls.waits(PYTHON, "dead")
    clock.now += STALE_S + 0.1
    assert calls.next(PYTHON) == []
