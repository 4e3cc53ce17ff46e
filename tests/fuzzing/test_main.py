import platform
from pathlib import Path

import pytest

from fuzzing import __main__ as fuzz
from fuzzing.__main__ import Run, missing, run, table

# On x86_64 it is among the dependencies, and must be there.
fuzzer = pytest.mark.skipif(platform.machine() != "x86_64" and bool(missing()), reason=missing())


@fuzzer
def test_fuzzer_counts_its_inputs_and_keeps_those_that_reach_new_code(tmp_path: Path) -> None:
    found = run("frames", "the runner's frames", 2, kept=tmp_path)
    assert found.holds, found.said
    assert found.inputs > 100
    assert found.kept > 3


@fuzzer
def test_fuzzer_finds_what_a_payload_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that lets one wrong value through, in the processes that the fuzzer starts."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Weak:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'fuzzing.targets':\n"
        "            from sandboxes import protocol\n"
        "            protocol.parse_compiled = lambda payload: payload.count(b'#') * 1000\n"
        "sys.meta_path.insert(0, Weak())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run("payloads", "", 60, kept=tmp_path / "kept")
    assert not found.holds
    assert "no exit status" in found.said
    assert [path for path in (tmp_path / "kept/found").iterdir() if b"#" in path.read_bytes()]


@fuzzer
def test_a_target_that_does_not_end_is_a_finding_and_not_the_end_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "GRACE_S", -29)
    found = run("frames", "", 30, kept=tmp_path)
    assert (found.holds, found.said) == (False, "it had not ended -29 s after its time")


@pytest.mark.parametrize(
    "machine, remedy", [("aarch64", "no package for aarch64: run it on x86_64"), ("x86_64", "run `make venv`")]
)
def test_a_machine_without_a_fuzzer_is_told_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], machine: str, remedy: str
) -> None:
    monkeypatch.setattr(fuzz.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(fuzz.platform, "machine", lambda: machine)
    assert fuzz.main() == fuzz.NO_FUZZER
    assert remedy in capsys.readouterr().err


def test_report_says_what_does_not_hold() -> None:
    rows = table([Run("frames", "frames", 2.4, 12_345, 7, True, ""), Run("trace", "a log", 1, 2, 1, False, "")])
    assert "| frames | frames | 2 | 12,345 | 7 | holds |" in rows
    assert "| trace | a log | 1 | 2 | 1 | **does not hold** |" in rows


def test_page_has_a_place_for_the_figures() -> None:
    text = fuzz.PAGE.read_text()
    assert text.index(fuzz.BEGIN) < text.index(fuzz.FINISH)
