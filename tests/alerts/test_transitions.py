"""An alert's way: pending, firing, resolved; and back again."""

from collections.abc import Callable

import pytest
from django.db import ProgrammingError, transaction

from alerts.models import Alert, AlertState, Rule
from tests.alerts.conftest import Figures, Later, evaluate, firing, states

MakeRule = Callable[..., Rule]


def test_each_subject_has_an_alert_of_its_own(make_rule: MakeRule, figures: Figures) -> None:
    make_rule()
    figures.met = {"client a": 3, "client b": 5}
    evaluate()
    assert firing() == ["client a", "client b"]
    assert set(Alert.objects.values_list("value", "detail")) == {(3, "It is 3."), (5, "It is 5.")}


def test_one_subject_recovers_while_another_fires(make_rule: MakeRule, figures: Figures, later: Later) -> None:
    make_rule()
    figures.met = {"client a": 3, "client b": 5}
    evaluate()
    later(minutes=1)
    del figures.met["client a"]
    evaluate()
    assert states() == {"client a": "resolved", "client b": "firing"}


def test_parameters_of_the_rule_decide(make_rule: MakeRule, figures: Figures) -> None:
    make_rule(parameters={"least": 4})
    figures.met = {"client a": 3, "client b": 5}
    evaluate()
    assert firing() == ["client b"]


def test_alert_fires_only_after_the_rules_time(make_rule: MakeRule, figures: Figures, later: Later) -> None:
    make_rule(pending_ms=150_000)
    figures.met = {"client a": 3}
    for expected in ("pending", "pending", "pending", "firing"):
        evaluate()
        assert states() == {"client a": expected}
        later(minutes=1)


def test_pending_alert_that_clears_leaves_no_trace(make_rule: MakeRule, figures: Figures, later: Later) -> None:
    make_rule(pending_ms=150_000)
    figures.met = {"client a": 3}
    evaluate()
    later(minutes=1)
    figures.met = {}
    evaluate()
    assert states() == {}


def test_alert_is_resolved_only_after_the_rules_time(make_rule: MakeRule, figures: Figures, later: Later) -> None:
    make_rule(recover_ms=90_000)
    figures.met = {"client a": 3}
    evaluate()
    figures.met = {}
    for expected in ("firing", "firing", "resolved"):
        later(minutes=1)
        evaluate()
        assert states() == {"client a": expected}


def test_condition_met_again_in_time_goes_on_as_one_alert(
    make_rule: MakeRule, figures: Figures, later: Later
) -> None:
    make_rule(recover_ms=90_000)
    for met in (True, False, True, False, True, False):
        figures.met = {"client a": 3} if met else {}
        evaluate()
        later(minutes=1)
    assert states() == {"client a": "firing"}


def test_flapping_holds_the_alert_open_longer_each_time(
    make_rule: MakeRule, figures: Figures, later: Later
) -> None:
    make_rule(recover_ms=60_000)
    held = []
    for _ in range(3):
        figures.met = {"client a": 3}
        evaluate()
        figures.met = {}
        minutes = 0
        while firing():
            later(minutes=1)
            minutes += 1
            evaluate()
        held.append(minutes)
        later(minutes=1)
    # One evaluation notices it, then 1, 2 and 4 minutes.
    assert held == [2, 3, 5]


def test_failed_evaluation_changes_no_alert(make_rule: MakeRule, figures: Figures, later: Later) -> None:
    rule = make_rule()
    figures.met = {"client a": 3}
    evaluate()
    later(minutes=1)
    figures.met, figures.fails = {}, True
    evaluate()
    rule.refresh_from_db()
    assert (firing(), rule.state.error) == (["client a"], "ZeroDivisionError")


def test_failed_evaluation_keeps_no_other_rule_from_being_evaluated(
    make_rule: MakeRule, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_rule(name="A", parameters={"least": "nonsense"})
    make_rule(name="B")
    figures.met = {"client a": 3}
    evaluate()
    assert list(Alert.objects.values_list("rule_name", flat=True)) == ["B"]


@pytest.mark.parametrize("end", ["disable", "delete"])
def test_alerts_of_a_rule_that_ends_are_resolved(make_rule: MakeRule, figures: Figures, end: str) -> None:
    rule = make_rule()
    figures.met = {"client a": 3}
    evaluate()
    if end == "delete":
        rule.delete()
    else:
        Rule.objects.update(enabled=False)
    evaluate()
    assert list(Alert.objects.values_list("state", "resolution")) == [("resolved", "rule disabled or deleted")]


def test_rule_is_evaluated_once_a_minute_by_however_many_keepers(
    make_rule: MakeRule, figures: Figures, later: Later
) -> None:
    make_rule()
    assert [evaluate(), evaluate()] == [1, 0]
    later(minutes=1)
    assert evaluate() == 1


def test_subjects_are_bounded_and_open_ones_stay(make_rule: MakeRule, figures: Figures, later: Later) -> None:
    make_rule()
    figures.met = {"client first": 1}
    evaluate()
    later(minutes=1)
    figures.met |= {f"client {n}": n for n in range(2, 300)}
    evaluate()
    fired = firing()
    assert len(fired) == 100
    assert {"client first", "client 299"} <= set(fired)


def test_resolved_alert_never_changes(make_rule: MakeRule, figures: Figures, later: Later) -> None:
    make_rule()
    figures.met = {"client a": 3}
    evaluate()
    later(minutes=1)
    figures.met = {}
    evaluate()
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Alert.objects.update(state=AlertState.FIRING, resolved_at=None)
