import pytest

from sandboxes.calls import STALE_S, Calls, as_payload, of_payload
from tests.sandboxes.conftest import Clock

PYTHON, NODEJS = (1, "none"), (2, "none")


@pytest.fixture
def calls(clock: Clock) -> Calls:
    return Calls(clock)


def test_nobody_waits_at_first(calls: Calls) -> None:
    assert calls.next(PYTHON) == ""


def test_who_was_submitted_first_is_called_first_whenever_it_said_so(calls: Calls) -> None:
    calls.waits(PYTHON, "b")
    calls.waits(PYTHON, "a")
    assert [calls.next(PYTHON), calls.next(PYTHON), calls.next(PYTHON)] == ["a", "b", ""]


def test_each_runtime_has_its_own(calls: Calls) -> None:
    calls.waits(PYTHON, "a")
    assert (calls.next(NODEJS), calls.next(PYTHON)) == ("", "a")


def test_who_may_call_out_waits_for_another_kind(calls: Calls) -> None:
    calls.waits((1, "egress"), "a")
    assert calls.next((1, "none")) == ""


def test_payload_says_what_was_put_in() -> None:
    assert of_payload(as_payload((1, "egress"), "a")) == ((1, "egress"), "a")


def test_who_was_served_is_not_called(calls: Calls) -> None:
    calls.waits(PYTHON, "a")
    calls.served(PYTHON, "a")
    assert calls.next(PYTHON) == ""


def test_who_was_served_without_waiting_changes_nothing(calls: Calls) -> None:
    calls.served(PYTHON, "b")
    calls.waits(PYTHON, "a")
    assert calls.next(PYTHON) == "a"


def test_who_has_not_been_heard_of_for_a_while_is_not_called(calls: Calls, clock: Clock) -> None:
    calls.waits(PYTHON, "dead")
    clock.now += STALE_S / 2
    calls.waits(PYTHON, "e")
    clock.now += STALE_S / 2 + 0.1
    assert calls.next(PYTHON) == "e"
