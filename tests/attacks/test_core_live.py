"""A core of the corpus, one or two quick cases of each family, on the shared platform. All: `make attack`."""

import platform as machine
from collections.abc import Iterator

import pytest

from attacks import corpus
from attacks.client import Client
from attacks.harness import Harness, Outcome, Verdict
from attacks.host import Host
from attacks.own import add_clients
from tests.live import Platform

pytestmark = pytest.mark.needs_docker

CORE = [case for case in corpus.load() if case.core]


@pytest.fixture(scope="module")
def outcomes(platform: Platform) -> Iterator[dict[str, Outcome]]:
    it = add_clients(platform)
    with Host(it.port, it.known).watching() as host:
        harness = Harness(
            lambda: Client(it.url, it.token), lambda: Client(it.url, it.other_token), host, machine.machine()
        )
        yield {outcome.case.name: outcome for outcome in harness.run(CORE, lambda _: None)}


@pytest.mark.parametrize("case", CORE, ids=[f"{case.family}: {case.name}" for case in CORE])
def test_it_holds(outcomes: dict[str, Outcome], case: corpus.Case) -> None:
    outcome = outcomes[case.name]
    assert outcome.complaints == []
    assert (outcome.verdict, outcome.on_host, len(outcome.sandboxes) >= 1) == (Verdict.HELD, True, True)
