from dataclasses import replace
from pathlib import Path

import pytest

from attacks import corpus, report
from attacks.corpus import Case
from attacks.harness import Outcome, Verdict
from attacks.report import ATTACK, WEAKENED, Caught, Record, markers

OUTCOMES = [
    Outcome(Case("escapes", "a", "It holds.", runtime="python"), Verdict.HELD),
    Outcome(Case("escapes", "b", "It holds.", runtime="python"), Verdict.BROKEN, ["a file of the host was read"]),
    Outcome(Case("runner", "c", "It holds.", runtime="go", judged_by_api=True), Verdict.HELD),
    Outcome(
        Case("runner", "d", "It holds.", runtime="rust"),
        Verdict.NOT_APPLICABLE,
        ["the runtime rust is not offered"],
    ),
]


def test_the_table_counts_by_family() -> None:
    rows = report.table(OUTCOMES).splitlines()
    assert "| escapes | 2 | 1 | 1 | 0 | 0 |" in rows
    assert "| runner | 1 | 1 | 0 | 1 | 1 |" in rows
    assert "| all | 3 | 2 | 1 | 1 | 1 |" in rows


def test_the_section_names_what_is_broken_and_what_was_left_out() -> None:
    text = report.section(Record(OUTCOMES, health_s=[0.01], others_s=[0.2]))
    assert "**broken**: escapes, b: a file of the host was read" in text
    assert "1 cases, the runtime rust is not offered" in text
    assert "/healthz took 10 ms (p50)" in text


def test_the_weakened_section_counts_what_was_noticed() -> None:
    assert "| escapes | gVisor | 2 | 1 |" in report.weakened_section([Caught("escapes", "gVisor", 2, ["a"])])


@pytest.mark.parametrize("name", [ATTACK, WEAKENED])
def test_the_page_keeps_what_is_around_a_section(tmp_path: Path, name: str) -> None:
    begin, end = markers(name)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    report.write(page, {name: "new"})
    assert page.read_text() == f"before\n{begin}\nnew\n{end}\nafter\n"


def test_the_platforms_page_has_both_sections() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    assert all(marker in text for name in (ATTACK, WEAKENED) for marker in markers(name))


def test_a_page_without_the_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text")
    with pytest.raises(ValueError, match="lacks the lines"):
        report.write(page, {ATTACK: "new"})
    assert page.read_text() == "text"


def test_a_later_part_replaces_verdicts_of_the_record(tmp_path: Path) -> None:
    first, second = corpus.load("runner")[:2]
    record = Record()
    broken = Outcome(first, Verdict.BROKEN, ["wrong"], on_host=True, engine="direct", gvisor="1", seconds=2.0)
    record.add([broken, Outcome(second, Verdict.HELD)], [0.1, float("inf")], [0.2])
    record.write(tmp_path / "record.json")
    again = Record.read(tmp_path / "record.json")
    assert again.broken() == [broken]
    assert again.health_s == [0.1]
    again.add([replace(broken, verdict=Verdict.HELD, complaints=[])], [], [])
    assert (again.broken(), len(again.outcomes)) == ([], 2)
