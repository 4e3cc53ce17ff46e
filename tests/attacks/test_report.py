from pathlib import Path

import pytest

from attacks import report
from attacks.corpus import Case
from attacks.harness import Outcome, Verdict
from attacks.report import BEGIN, END, Caught, Run

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
RUN = Run(OUTCOMES, "direct", "release-1", True, 60.0, health_s=[0.01, 0.02], others_s=[0.2])


def test_the_table_counts_by_family() -> None:
    rows = report.table(OUTCOMES).splitlines()
    assert "| escapes | 2 | 1 | 1 | 0 | 0 |" in rows
    assert "| runner | 1 | 1 | 0 | 1 | 1 |" in rows
    assert "| all | 3 | 2 | 1 | 1 | 1 |" in rows


def test_the_section_names_what_is_broken_and_what_was_left_out() -> None:
    text = report.section(RUN, [Caught("escapes", "gVisor", 2, ["a"])])
    assert "**broken**: escapes, b: a file of the host was read" in text
    assert "1 cases, the runtime rust is not offered" in text
    assert "| escapes | gVisor | 2 | 1 |" in text
    assert "10 ms (p50)" in text or "20 ms (p50)" in text


def test_the_page_keeps_what_is_around_the_section(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report.write(page, "new")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_a_page_without_the_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text")
    with pytest.raises(ValueError, match="lacks the lines"):
        report.write(page, "new")
    assert page.read_text() == "text"
