"""The newest seal is as new as it should be."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from audit import sealing
from executions.models import Execution
from tests.audit.conftest import cut_off, pass_time, problems


def test_an_end_that_was_cut_off_is_found_when_the_next_seal_was_due(
    history: list[Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(3)
    pass_time(monkeypatch, minutes=121)
    (problem,) = [each for each in problems() if "expected" in each]
    assert problem.startswith("audit_seal 3: the tail may be cut off: a seal was expected by ")


def test_a_seal_that_is_not_due_yet_is_not_missed(
    history: list[Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_time(monkeypatch, minutes=119)
    assert problems() == []


def test_a_history_without_any_seal_is_missed(make_execution: Callable[..., Execution]) -> None:
    then = timezone.now() - timedelta(hours=3)
    make_execution(queued_at=then, finished_at=then)
    assert any("audit_seal 1: the tail may be cut off" in problem for problem in problems())
    sealing.seal()
    assert not any("expected" in problem for problem in problems())
