"""Signatures: what a writer of the database cannot make."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from audit import keys, sealing
from audit.models import Seal, SealKey
from executions.models import Execution
from tests.audit.conftest import problems, recompute_chain, strip_signatures, tamper


def forge(execution: Execution) -> None:
    """Change a row, and everything in the database that the row is compared with."""
    tamper("UPDATE executions_execution SET stdout = 'forged' WHERE id = %s", execution.pk)
    recompute_chain()


def sign_all(key: Ed25519PrivateKey) -> None:
    """Sign all seals with a key of one's own, which replaces the first."""
    public = key.public_key().public_bytes_raw()
    mine = keys.fingerprint(public)
    tamper("UPDATE audit_sealkey SET fingerprint = %s, public_key = %s", mine, public)
    tamper("UPDATE audit_seal SET key = %s", mine)
    recompute_chain()
    for seal in Seal.objects.all():
        tamper("UPDATE audit_seal SET signature = %s WHERE sequence = %s", key.sign(seal.signed), seal.sequence)


def test_a_chain_that_was_computed_anew_is_found(history: list[Execution]) -> None:
    forge(history[1])
    found = problems()
    assert len(found) == 2  # the seal of the row, and the one after it
    assert all("its signature is wrong" in problem for problem in found)


def test_a_chain_of_the_forgers_own_key_is_found_by_the_noted_fingerprint(history: list[Execution]) -> None:
    first = SealKey.objects.get().fingerprint
    tamper("UPDATE executions_execution SET stdout = 'forged' WHERE id = %s", history[1].pk)
    sign_all(Ed25519PrivateKey.generate())
    assert problems() == []  # nothing but the note can tell
    found = problems(fingerprints=[first])
    assert any("the first key is not the one that was noted" in problem for problem in found)
    assert sum("signed by a key that is not trusted" in problem for problem in found) == 3


def test_a_key_that_was_slipped_in_is_found(history: list[Execution]) -> None:
    own = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    SealKey.objects.create(
        fingerprint=keys.fingerprint(own), public_key=own, used_from=timezone.now(), signature=b"\0" * 64,
        previous=SealKey.objects.get().fingerprint,
    )  # fmt: skip
    (problem,) = problems()
    assert f"audit_sealkey {keys.fingerprint(own)}: not signed by the key before it" in problem


def test_a_key_under_anothers_fingerprint_is_found(history: list[Execution]) -> None:
    own = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    tamper("UPDATE audit_sealkey SET public_key = %s", own)
    assert "this is not the fingerprint of the key" in problems()[0]


def test_a_replaced_key_signs_no_more(history: list[Execution], settings: Settings) -> None:
    """It may have been stolen, which is why it was replaced."""
    stolen = keys.KeyFile.load(Path(settings.SANDBOX_SEAL_KEY_FILE))
    keys.rotate()
    sealing.seal()
    (last,) = sealing.seal()
    last.key = SealKey.objects.earliest("id").fingerprint
    last.hash = last.computed_hash()
    tamper(
        "UPDATE audit_seal SET key = %s, hash = %s, signature = %s WHERE sequence = %s",
        last.key, last.hash, stolen.sign(last.signed), last.sequence,
    )  # fmt: skip
    (problem,) = problems()
    assert "signed by a key that had been replaced" in problem


def test_a_deleted_key_is_found(history: list[Execution]) -> None:
    tamper("DELETE FROM audit_sealkey")
    assert sum("signed by a key that is not trusted" in problem for problem in problems()) == 3


def test_a_seal_without_a_signature_after_one_with_it_is_found(history: list[Execution]) -> None:
    seal = Seal.objects.get(sequence=3)
    seal.key = ""
    tamper("UPDATE audit_seal SET key = '', signature = NULL, hash = %s WHERE sequence = 3", seal.computed_hash())
    (problem,) = problems()
    assert "has no signature, although an earlier seal has one" in problem


# --- Seals of before there were keys ---


@pytest.fixture
def old_history(history: list[Execution], forget_what_was_signed: Callable[[], None]) -> list[Execution]:
    strip_signatures()
    forget_what_was_signed()
    return history


def test_old_seals_that_nothing_vouches_for_are_found(old_history: list[Execution]) -> None:
    (problem,) = problems()
    assert problem.startswith("audit_seal 3 ")
    assert "no seal up to this one is signed" in problem


def test_the_first_signed_seal_vouches_for_old_ones(old_history: list[Execution]) -> None:
    head = Seal.objects.get(sequence=3).head
    (first,) = sealing.seal()
    assert first.statement == {"unsigned": head}
    assert problems() == []


def test_verification_says_what_was_sealed_without_a_key(old_history: list[Execution]) -> None:
    head = Seal.objects.get(sequence=3).head
    sealing.seal()
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert f"seal 4, {timezone.now():%Y-%m-%d}" in out.getvalue()
    assert f"everything up to {head} was sealed without a key" in out.getvalue()


def test_old_seals_that_change_after_the_first_signed_one_are_found(old_history: list[Execution]) -> None:
    sealing.seal()
    forge(old_history[0])
    assert any("audit_seal 4" in problem and "signature is wrong" in problem for problem in problems())


def test_a_first_signed_seal_that_vouches_for_nothing_is_found(
    old_history: list[Execution], settings: Settings
) -> None:
    (first,) = sealing.seal()
    first.statement = None
    first.hash = first.computed_hash()
    signature = keys.KeyFile.load(Path(settings.SANDBOX_SEAL_KEY_FILE)).sign(first.signed)
    tamper(
        "UPDATE audit_seal SET statement = NULL, hash = %s, signature = %s WHERE sequence = 4",
        first.hash,
        signature,
    )
    (problem,) = problems()
    assert "does not vouch for the seals before it" in problem


# --- The command's --key ---


def test_command_takes_a_fingerprint(history: list[Execution]) -> None:
    out = StringIO()
    call_command("verify_audit", key=[SealKey.objects.get().fingerprint.upper()], stdout=out)
    assert f"First key: {SealKey.objects.get().fingerprint}\n" in out.getvalue()


def test_command_asks_for_a_note_of_the_fingerprint(history: list[Execution]) -> None:
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert "(not compared: note it elsewhere" in out.getvalue()


def test_command_takes_the_settings_fingerprint(history: list[Execution], settings: Settings) -> None:
    settings.SANDBOX_SEAL_FINGERPRINT = ["0" * 64]
    with pytest.raises(SystemExit):
        call_command("verify_audit", stdout=StringIO())


@pytest.mark.parametrize("form", ["fingerprint", "public key"])
def test_command_takes_a_file(history: list[Execution], settings: Settings, tmp_path: Path, form: str) -> None:
    key = serialization.load_pem_private_key(Path(settings.SANDBOX_SEAL_KEY_FILE).read_bytes(), None)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    content = public if form == "public key" else f"{SealKey.objects.get().fingerprint}\n".encode()
    (tmp_path / "key").write_bytes(content)
    call_command("verify_audit", key=[str(tmp_path / "key")], stdout=StringIO())


def test_command_refuses_what_is_no_key(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="neither a fingerprint nor a file"):
        call_command("verify_audit", key=["abc"])
