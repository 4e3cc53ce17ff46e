"""What the harness takes for a difference."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fidelity import deviations, harness
from tests.fidelity.cases import Case, CaseError, load
from tests.fidelity.outcome import Outcome, differences, disappointments

DONE = Outcome(exit_code=0, stdout=b"one\ntwo\n", stderr=b"at 0x7f12345678\n", files={"a.txt": b"a"})
ROW = "| python | `some` | {} | A reason of some length. |\n"
PAGE = "# Page\n\n## Deviations of the platform\n\n| runtime | case | differs | why |\n|---|---|---|---|\n"


def test_equal_outcomes_agree() -> None:
    assert differences(DONE, DONE) == {}


def test_addresses_do_not_count() -> None:
    assert differences(DONE, replace(DONE, stderr=b"at 0x7fffffffff\n")) == {}


@pytest.mark.parametrize(
    ("aspect", "changed"),
    [
        ("end", {"exit_code": 1}),
        ("end", {"exit_code": None, "signal": 9}),
        ("end", {"timed_out": True}),
        ("end", {"lost": True}),
        ("stdout", {"stdout": b"one\n"}),
        ("stdout", {"stdout": b"one\ntwo"}),
        ("stderr", {"stderr": b""}),
        ("files", {"files": {}}),
        ("files", {"files": {"a.txt": b"b"}}),
        ("files", {"dropped": ("b.txt (too large)",)}),
    ],
)
def test_what_differs_is_found(aspect: str, changed: dict[str, object]) -> None:
    assert list(differences(DONE, replace(DONE, **changed))) == [aspect]


def test_only_the_aspects_of_the_case_are_compared() -> None:
    assert differences(DONE, replace(DONE, stderr=b"", exit_code=1), ("stdout", "files")) == {}


def test_a_case_replaces_what_varies() -> None:
    other = replace(DONE, stdout=b"one\nthree\n")
    assert differences(DONE, other, own=[("^t.*$", "T")]) == {}


@pytest.mark.parametrize(
    ("expect", "right"),
    [
        ({"exit_code": 0, "stdout": "one\ntwo\n", "files": ["a.txt"]}, True),
        ({"exit_code": 1}, False),
        ({"stdout_ends": "two\n"}, True),
        ({"stderr_has": "nothing"}, False),
        ({"result": 1}, False),
    ],
)
def test_what_a_case_expects_is_asked(expect: dict[str, object], right: bool) -> None:
    assert (disappointments(DONE, expect) == []) is right


def page(folder: Path, *rows: str) -> list[deviations.Deviation]:
    path = folder / "page.md"
    path.write_text(PAGE + "".join(rows), encoding="utf-8")
    return deviations.load(path)


def test_a_row_lists_its_aspects_and_ways(tmp_path: Path) -> None:
    rows = page(tmp_path, ROW.format("stdout, stderr in warm"))
    assert deviations.listed(rows, "platform", "python/some", "warm", ["stdout"])
    assert not deviations.listed(rows, "platform", "python/some", "warm", ["stdout", "end"])
    assert not deviations.listed(rows, "platform", "python/some", "script", ["stdout"])
    assert not deviations.listed(rows, "gvisor", "python/some", "warm", ["stdout"])


def test_a_row_without_a_reason_is_refused(tmp_path: Path) -> None:
    with pytest.raises(deviations.TableError):
        page(tmp_path, "| python | `some` | stdout | |\n")


def test_a_second_row_for_a_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(deviations.TableError):
        page(tmp_path, ROW.format("stdout"), ROW.format("end"))


@pytest.mark.parametrize(
    ("differs", "gone"), [({"stdout": "-a +b"}, False), ({"end": "0 and 1"}, True), ({}, True)]
)
def test_a_listed_deviation_that_is_gone_is_found(tmp_path: Path, differs: dict[str, str], gone: bool) -> None:
    rows = page(tmp_path, ROW.format("stdout"))
    case = Case("python", "some", "pass")
    verdicts = [
        harness.Verdict("platform", case, "script", {}),
        harness.Verdict("platform", case, "warm", differs),
    ]
    assert (harness.vanished(rows, verdicts) == rows) is gone


def test_a_deviation_whose_case_did_not_run_is_not_gone(tmp_path: Path) -> None:
    assert harness.vanished(page(tmp_path, ROW.format("stdout")), []) == []


@pytest.mark.parametrize(
    "text",
    [
        'name = "a"',
        'name = "a"\nprogram = ""\nunknown = 1',
        'name = "a"\nprogram = ""\nmechanism = "Z"',
        'name = "a"\nprogram = ""\nalso = ["twice"]',
        'name = "a"\nprogram = ""\ncompare = ["taste"]',
        'name = "a"\nprogram = ""\n[case.call]\nx = 1',
        'name = "a"\nprogram = ""\n[[case]]\nname = "a"\nprogram = ""',
    ],
)
def test_a_wrong_case_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "some.toml").write_text(f"[[case]]\n{text}\n", encoding="utf-8")
    with pytest.raises(CaseError):
        load(tmp_path)


@pytest.mark.parametrize("engine", ["docker", "direct"])
def test_a_row_may_hold_for_one_engine_only(tmp_path: Path, engine: str) -> None:
    (row,) = page(tmp_path, f"| python | `some` | stdout | {deviations.OF_ENGINE[engine]}its roots differ. |\n")
    assert row.engine == engine
    assert page(tmp_path, ROW.format("stdout"))[0].engine == ""
