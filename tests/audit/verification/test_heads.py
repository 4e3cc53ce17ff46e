"""Heads that left the machine tell of what the database no longer tells."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from audit import heads, sealing
from audit.models import Seal
from executions.models import Execution
from tests.audit.conftest import cut_off, pass_time, problems, strip_signatures


@pytest.fixture
def file(history: list[Execution], tmp_path: Path) -> Path:
    """The heads of all seals so far."""
    path = tmp_path / "heads.jsonl"
    with path.open("w") as out:
        call_command("heads", stdout=out)
    return path


def test_heads_agree(file: Path) -> None:
    assert problems(heads=file) == []


def test_an_end_that_was_cut_off_is_found(file: Path) -> None:
    cut_off(3)
    assert problems() == []
    assert problems(heads=file) == ["audit_seal 3: missing, but noted outside the database"]


def test_an_end_that_was_made_anew_is_found(file: Path, forget_what_was_signed: Callable[[], None]) -> None:
    """Even the process that seals cannot replace what has left, be it without its memory of it."""
    cut_off(3)
    forget_what_was_signed()
    sealing.seal()
    assert problems() == []
    (problem,) = problems(heads=file)
    assert "differs from the seal noted outside the database" in problem


def test_a_restored_backup_is_no_finding_if_the_process_that_seals_says_so(file: Path) -> None:
    cut_off(3)
    sealing.seal(after_restore=True)
    assert problems(heads=file) == []


def test_all_history_made_anew_without_signatures_is_found(file: Path) -> None:
    strip_signatures()
    assert sum(
        "differs from the seal noted" in problem or "signature" in problem for problem in problems(heads=file)
    )


def test_a_head_that_was_changed_is_found(file: Path) -> None:
    lines = file.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {"hash": "0" * 64})
    file.write_text("\n".join(lines))
    assert problems(heads=file) == [f"{file} line 2: seal 2: its signature is wrong"]


@pytest.mark.parametrize("line", ["", "null", "[]", "{}", '{"sequence": 1, "hash": "x"}', "seal 1"])
def test_a_line_that_is_no_head_is_found(file: Path, line: str) -> None:
    with file.open("a") as out:
        out.write(line + "\n")
    assert problems(heads=file) == [f"{file} line 4: is not the head of a seal"]


def test_heads_that_no_longer_leave_are_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pass_time(monkeypatch, hours=3)
    sealing.seal()
    (problem,) = problems(heads=file)
    assert "no head of a seal after 3: heads do not leave the machine" in problem


def test_a_file_that_was_emptied_is_found(file: Path) -> None:
    file.write_text("")
    (problem,) = problems(heads=file)
    assert "holds no head of a seal" in problem


def test_command_compares_with_the_file_of_the_settings(file: Path, settings: Settings) -> None:
    settings.SANDBOX_HEADS_FILE = str(file)
    cut_off(3)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("verify_audit", stdout=out)
    assert "audit_seal 3: missing" in out.getvalue()


def test_command_refuses_a_file_that_is_not_there(db: None) -> None:
    with pytest.raises(CommandError, match="is not a file"):
        call_command("verify_audit", heads="/nowhere/heads.jsonl")


def test_command_prints_signed_heads_only(history: list[Execution]) -> None:
    strip_signatures()
    out = StringIO()
    call_command("heads", stdout=out)
    assert out.getvalue() == ""
    assert heads.lines(list(Seal.objects.all())).count("\n") == 3
