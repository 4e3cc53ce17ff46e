"""The case files and the tables of docs/fidelity.md themselves."""

import pytest

from tests.fidelity import cases, deviations
from tests.fidelity.cases import MECHANISMS

CASES = 250
CORE = range(40, 70)
LINES = 400
REPORTED = 19  # programs whose deviations gave rise to all this


def test_there_are_many() -> None:
    assert len(cases.load()) >= CASES


def test_every_runtime_has_some() -> None:
    assert {case.runtime for case in cases.load()} == set(cases.manifests())


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_has_one_in_the_core(mechanism: str) -> None:
    assert [case.id for case in cases.load() if case.mechanism == mechanism and case.core]


def test_the_reported_programs_are_asserted() -> None:
    asserted = [case.id for case in cases.load() if case.subject == "reported"]
    assert len(asserted) >= REPORTED
    assert all(case.expect for case in cases.load() if case.subject == "reported")


def test_the_core_is_small_and_of_core_runtimes() -> None:
    core = [case for case in cases.load() if case.core]
    assert len(core) in CORE
    assert all(case.manifest.core for case in core)


def test_no_file_is_long() -> None:
    for path in cases.FOLDER.glob("*/*.toml"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < LINES, path


def test_every_listed_deviation_names_a_case() -> None:
    known = {case.id for case in cases.load()}
    rows = [row for row in deviations.load() if row.kind != "suite"]
    assert [row.id for row in rows if row.id not in known] == []


def test_every_reason_is_a_sentence() -> None:
    assert [row.id for row in deviations.load() if len(row.why) < 20] == []
