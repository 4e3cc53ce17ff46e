import pytest

from scripts.host_test import report
from scripts.host_test.steps import FAILED, NOT_TRIED, OK, Outcome
from scripts.setup.host import SetupError

OUTCOMES = [
    Outcome("boot", "boot", OK, 71.6, "running"),
    Outcome("make", "`make`", FAILED, 10.0, "\n".join(f"line {n}" for n in range(40))),
    Outcome("smoke", "`make smoke`", NOT_TRIED),
]


def test_each_step_has_its_result_and_seconds():
    text = report.render({"guest": "Debian", "handed over": ""}, OUTCOMES)
    assert "| boot | ok | 72 |\n| `make` | failed | 10 |\n| `make smoke` | not tried |  |" in text
    assert "| guest | Debian |" in text
    assert "handed over" not in text


def test_only_failures_are_quoted_by_their_last_lines():
    text = report.render({}, OUTCOMES)
    assert "    line 39" in text
    assert "line 24" not in text
    assert "running" not in text


def test_no_mirror_and_no_password_is_quoted():
    output = "E: Failed to fetch https://me:secret@mirror.example/debian/x.deb 403\n"
    text = report.render({}, [Outcome("make", "make", FAILED, 1.0, output)])
    assert "    E: Failed to fetch (address) 403" in text


def test_the_page_has_the_newest_report_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.put(page, "new\n")
    assert page.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"


def test_a_page_without_markers_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n")
    with pytest.raises(SetupError):
        report.put(page, "new\n")
    assert page.read_text() == "before\n"
