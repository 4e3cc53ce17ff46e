"""The core of the cases, in `make test`: each plainly and through the platform's runner. All of them: `make fidelity`.

For the runtimes of the core set, or what SANDBOX_TEST_RUNTIMES says; see tests/images/chosen.py.
"""

import os
from collections.abc import Callable

import pytest

from sandboxes.engine import Engine
from tests.fidelity import cases, deviations, harness
from tests.fidelity.cases import Case
from tests.fidelity.outcome import Outcome
from tests.images.chosen import chosen
from tests.sandboxes.guest import engine

__all__ = ["engine"]

pytestmark = pytest.mark.needs_docker

SLUGS = {manifest.slug for manifest in chosen()}
CORE = [case for case in cases.load() if case.core and case.runtime in SLUGS]
WAYS = 2  # at most, for a case, and none that loads packages first: these tests are to take a minute


def ways(case: Case) -> list[str]:
    return [way for way in case.ways if way != "warm"][:WAYS]


RUNS = [pytest.param(case, way, id=f"{case.id}-{way}") for case in CORE for way in ways(case)]

Reference = Callable[[Case], Outcome | None]


@pytest.fixture(scope="module")
def both(engine: Engine) -> harness.Harness:
    prefix = os.environ.get("SANDBOX_TEST_IMAGES", harness.PREFIX)
    return harness.Harness(engine, prefix, deviations.load())


@pytest.fixture(scope="module")
def reference(both: harness.Harness) -> Reference:
    """The plain run of a case. The first of a runtime runs all of that runtime's."""
    known: dict[str, dict[str, Outcome]] = {}

    def outcome(case: Case) -> Outcome | None:
        if case.runtime not in known:
            known[case.runtime] = both.plainly([other for other in CORE if other.runtime == case.runtime])
        return known[case.runtime].get(case.name)

    return outcome


@pytest.mark.parametrize(("case", "way"), RUNS)
def test_a_program_ends_as_it_does_plainly(
    both: harness.Harness, reference: Reference, case: Case, way: str
) -> None:
    verdict = both.platform(case, way, reference(case))
    assert not verdict.failed, str(verdict)
