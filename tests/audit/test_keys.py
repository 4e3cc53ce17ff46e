"""The private key, its rotation, and what is refused without it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from pytest_django import Settings

from audit import keys, sealing
from audit.jobs import run_due
from audit.models import Pending, Seal, SealingFailure, SealKey
from executions.models import Execution
from tests.audit.conftest import cut_off, problems, tamper

MakeExecution = Callable[..., Execution]


@pytest.fixture
def path() -> Path:
    return Path(settings.SANDBOX_SEAL_KEY_FILE)


def first_fingerprint() -> str:
    return SealKey.objects.get(previous="").fingerprint


def test_only_the_owner_reads_a_new_key(tmp_path: Path) -> None:
    keys.KeyFile.make(tmp_path / "seal" / "seal.key")
    assert (tmp_path / "seal" / "seal.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "seal").stat().st_mode & 0o777 == 0o700


def test_a_key_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        keys.KeyFile.make(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_new_installation_gets_its_key(db: None, path: Path) -> None:
    path.unlink()
    assert keys.prepare() == keys.fingerprint(keys.KeyFile.load(path).public_key)


def test_a_lost_key_is_not_made_anew(history: list[Execution], path: Path) -> None:
    path.unlink()
    with pytest.raises(keys.KeyUnusable, match="is missing: restore the file from its copy"):
        keys.prepare()
    assert not path.exists()


def test_without_its_key_nothing_is_sealed(make_execution: MakeExecution, path: Path) -> None:
    make_execution()
    path.unlink()
    with pytest.raises(keys.KeyUnusable, match="is missing"):
        sealing.seal()
    assert not Seal.objects.exists()
    assert Pending.objects.exists()


def test_a_key_that_others_read_is_refused(db: None, path: Path) -> None:
    path.chmod(0o640)
    with pytest.raises(keys.KeyUnusable, match="chmod 600"):
        sealing.seal()


@pytest.mark.parametrize(
    "content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_is_refused(db: None, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(keys.KeyUnusable, match="holds no private key"):
        sealing.seal()


def test_a_process_without_a_key_says_who_has_it(db: None, settings: Settings) -> None:
    settings.SANDBOX_SEAL_KEY_FILE = ""
    with pytest.raises(CommandError, match="The keeper has the key"):
        call_command("seal")


def test_a_node_without_a_key_leaves_sealing_to_the_others(db: None, settings: Settings) -> None:
    settings.SANDBOX_SEAL_KEY_FILE = ""
    run_due()
    assert not Seal.objects.exists()
    assert not SealingFailure.objects.exists()


def test_a_folder_that_cannot_be_written_is_named(db: None, settings: Settings) -> None:
    settings.SANDBOX_SEAL_KEY_FILE = "/proc/seal/seal.key"
    run_due()
    assert "seal.key cannot be written" in SealingFailure.objects.get().reason


def test_another_key_seals_nothing(history: list[Execution], path: Path) -> None:
    path.unlink()
    keys.KeyFile.make(path)
    with pytest.raises(keys.KeyUnusable, match="but seals are signed by"):
        sealing.seal()


def test_keys_rotate(history: list[Execution], path: Path) -> None:
    old = path.read_bytes()
    call_command("rotate_seal_key")
    sealing.seal()
    assert path.read_bytes() != old
    assert len(set(Seal.objects.values_list("key", flat=True))) == 2
    # The first key's fingerprint is enough: the chain of keys leads from it to the one in force.
    assert problems(fingerprints=[first_fingerprint()]) == []


def test_a_rotation_that_ended_before_the_files_changed_places_is_finished(
    history: list[Execution], path: Path
) -> None:
    old = path.read_bytes()
    keys.rotate()
    new = path.read_bytes()
    path.rename(path.with_name("seal.key.new"))
    keys.write_new(path, old)
    sealing.seal()
    assert path.read_bytes() == new
    assert problems() == []


def test_a_rotation_that_ended_before_its_commit_changes_nothing(history: list[Execution], path: Path) -> None:
    keys.KeyFile.make(path.with_name("seal.key.new"))
    sealing.seal()
    assert SealKey.objects.count() == 1
    keys.rotate()
    assert SealKey.objects.count() == 2


def test_after_a_loss_both_fingerprints_are_asked_for(history: list[Execution], path: Path) -> None:
    path.unlink()
    call_command("rotate_seal_key", lost=True)
    sealing.seal()
    first, second = SealKey.objects.all()
    assert any(
        "not signed by the key before it" in problem for problem in problems(fingerprints=[first.fingerprint])
    )
    assert problems(fingerprints=[first.fingerprint, second.fingerprint]) == []


def test_a_key_that_is_there_is_not_lost(history: list[Execution]) -> None:
    with pytest.raises(CommandError, match="is not lost"):
        call_command("rotate_seal_key", lost=True)


def test_nothing_is_sealed_onto_a_chain_whose_end_was_cut_off(history: list[Execution]) -> None:
    """The process that seals would otherwise sign what is left, and nobody would miss the rest."""
    cut_off(3)
    with pytest.raises(keys.HistoryReplaced, match=r"seal 3:.* run `manage.py seal --after-restore` once"):
        sealing.seal()


def test_seals_go_on_after_a_restored_backup_and_say_so(history: list[Execution]) -> None:
    lost = Seal.objects.get(sequence=3).head
    cut_off(3)
    call_command("seal", after_restore=True)
    sealing.seal()
    assert list(Seal.objects.filter(sequence__gte=3).values_list("sequence", "statement")) == [
        (4, None),
        (3, {"restored": lost}),
    ]
    assert problems() == []


def test_a_failure_to_seal_is_over_with_the_seal_after_a_restore(history: list[Execution]) -> None:
    cut_off(3)
    run_due()
    assert "was made here" in SealingFailure.objects.get().reason
    call_command("seal", after_restore=True)
    assert not SealingFailure.objects.exists()


def test_a_restore_that_replaced_nothing_is_not_stated(history: list[Execution]) -> None:
    (seal,) = sealing.seal(after_restore=True)
    assert seal.statement is None


def test_history_made_anew_is_not_taken_for_one_of_before_there_were_keys(history: list[Execution]) -> None:
    """Without signatures it would look like a database to upgrade, for whose seals the first signed one vouches."""
    tamper("UPDATE audit_seal SET key = '', signature = NULL")
    tamper("DELETE FROM audit_sealkey")
    for seal in Seal.objects.order_by("sequence"):
        tamper("UPDATE audit_seal SET hash = %s WHERE sequence = %s", seal.computed_hash(), seal.sequence)
    with pytest.raises(keys.HistoryReplaced):
        sealing.seal()


def test_the_first_key_is_printed(history: list[Execution], capsys: pytest.CaptureFixture[str]) -> None:
    keys.rotate()
    call_command("seal_key", make=True)
    assert capsys.readouterr().out.split()[0] == first_fingerprint()
