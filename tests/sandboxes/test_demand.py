"""How many warm sandboxes a runtime is about to need."""

import pytest

from sandboxes.demand import DEMAND_SLOT_S, DEMAND_WINDOW_S, Demand
from tests.sandboxes.conftest import Clock


@pytest.fixture
def demand(clock: Clock) -> Demand:
    return Demand(clock)


def test_demand_of_an_unclaimed_runtime_is_zero(demand: Demand) -> None:
    demand.claimed((1, "none"))
    assert demand.peak((2, "none")) == 0


def test_demand_is_the_busiest_moment(demand: Demand, clock: Clock) -> None:
    for claims in (1, 5, 2):
        for _ in range(claims):
            demand.claimed((1, "none"))
        clock.now += DEMAND_SLOT_S
    assert demand.peak((1, "none")) == 5


def test_demand_is_counted_for_each_runtime(demand: Demand) -> None:
    demand.claimed((1, "none"))
    demand.claimed((2, "none"))
    demand.claimed((2, "none"))
    assert (demand.peak((1, "none")), demand.peak((2, "none"))) == (1, 2)


def test_demand_is_forgotten_after_a_while(demand: Demand, clock: Clock) -> None:
    demand.claimed((1, "none"))
    clock.now += DEMAND_WINDOW_S + 1
    assert demand.peak((1, "none")) == 0


def test_demand_is_remembered_for_a_while(demand: Demand, clock: Clock) -> None:
    demand.claimed((1, "none"))
    clock.now += DEMAND_WINDOW_S - 1
    assert demand.peak((1, "none")) == 1


def test_demand_with_a_door_is_another(demand: Demand) -> None:
    demand.claimed((1, "egress"))
    assert (demand.peak((1, "none")), demand.peak((1, "egress"))) == (0, 1)
