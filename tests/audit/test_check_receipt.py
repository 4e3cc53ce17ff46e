"""The receipt of a verification, checked by a Python without any package, as on an auditor's machine."""

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client as Browser
from django.urls import reverse

from audit import keys, receipts, sealing, verifications
from audit.check_receipt import is_signed
from audit.models import Seal, SealKey, Verification
from executions.models import Execution
from tests.audit.conftest import strip_signatures, tamper
from tests.conftest import Visitor

Check = Callable[..., tuple[int, str]]
Json = dict[str, Any]


@pytest.fixture
def row(history: list[Execution]) -> Verification:
    return verified(1, 3)


def verified(first: int, last: int) -> Verification:
    row = verifications.start(first, last, by="admin", http=None)
    verifications.run(row.pk)
    row.refresh_from_db()
    return row


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Runs the command, isolated from this project and from all packages; returns its exit status and output."""

    def run(receipt: Json | str, *options: str, key: str = "") -> tuple[int, str]:
        file = tmp_path / "receipt.json"
        file.write_text(receipt if isinstance(receipt, str) else json.dumps(receipt))
        key = key or SealKey.objects.order_by("id").values_list("fingerprint", flat=True)[0]
        command = [sys.executable, "-I", "-S", str(receipts.COMMAND), str(file), "--key", key, *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("length", [0, 1, 200])
def test_the_command_s_own_ed25519_agrees_with_the_library_s(length: int) -> None:
    key, message = Ed25519PrivateKey.generate(), b"m" * length
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert is_signed(public, message, signature)
    assert not is_signed(public, message + b"x", signature)
    for place in (0, 31, 32, 63):
        forged = bytearray(signature)
        forged[place] ^= 1
        assert not is_signed(public, message, bytes(forged))
    assert not is_signed(Ed25519PrivateKey.generate().public_key().public_bytes_raw(), message, signature)


def test_a_signature_has_one_form_only() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    key = Ed25519PrivateKey.generate()
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"m")
    scalar = int.from_bytes(signature[32:], "little") + order
    assert not is_signed(public, b"m", signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("public", [b"", b"\0" * 31, b"\xff" * 32, (2).to_bytes(32, "little")])
def test_what_is_no_key_signs_nothing(public: bytes) -> None:
    assert not is_signed(public, b"m", b"\0" * 64)


def test_a_receipt_of_untouched_history(row: Verification, check: Check) -> None:
    status, said = check(receipts.receipt_of(row))
    assert status == 0, said
    head = Seal.objects.get(pk=3).head
    assert "Seals 1 to 3 are signed and chained" in said and f"Last: {head}" in said
    assert "found 0 mismatches (ok" in said


def test_a_receipt_of_a_part(history: list[Execution], check: Check) -> None:
    status, said = check(receipts.receipt_of(verified(2, 3)))
    assert status == 0, said


def test_another_fingerprint(row: Verification, check: Check) -> None:
    status, said = check(receipts.receipt_of(row), key="0" * 64)
    assert status == 1
    assert "neither the key that you noted" in said and "signed by a key that is not trusted" in said


@pytest.mark.parametrize(
    ("column", "value"),
    [("count", 99), ("root", "0" * 64), ("period_to", "2026-01-01T00:00:00+00:00"), ("previous", "0" * 64),
     ("statement", {"unsigned": "1:x"}), ("created_at", "2026-01-01T00:00:00+00:00")],
)  # fmt: skip
def test_a_changed_seal(row: Verification, check: Check, column: str, value: Any) -> None:
    receipt = receipts.receipt_of(row)
    receipt["seals"][1][column] = value
    status, said = check(receipt)
    assert (status, "seal 2: changed, its hash does not match its content" in said) == (1, True)


def test_a_changed_seal_with_its_hash_computed_anew(row: Verification, check: Check) -> None:
    receipt = receipts.receipt_of(row)
    changed = Seal.objects.get(pk=2)
    changed.count = 99
    receipt["seals"][1] |= {"count": 99, "hash": changed.computed_hash()}
    status, said = check(receipt)
    assert status == 1
    assert "seal 2: its signature is wrong" in said and "seal 3: not chained" in said


def test_another_key_of_the_same_name(row: Verification, check: Check) -> None:
    receipt = receipts.receipt_of(row)
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    receipt["keys"][0]["public_key"] = b64encode(public).decode()
    status, said = check(receipt)
    assert (status, "this is not the fingerprint of the key" in said) == (1, True)


def test_a_forger_s_key_beside_the_true_one(row: Verification, check: Check) -> None:
    receipt = receipts.receipt_of(row)
    forger = Ed25519PrivateKey.generate()
    public = forger.public_key().public_bytes_raw()
    first = receipt["keys"][0]
    name = sha256(public).hexdigest()
    receipt["keys"].append(
        {"fingerprint": name, "public_key": b64encode(public).decode(), "used_from": first["used_from"],
         "previous": first["fingerprint"], "signature": b64encode(forger.sign(b"x")).decode()}
    )  # fmt: skip
    status, said = check(receipt)
    assert (status, f"key {name}: neither" in said) == (1, True)


def test_a_removed_seal(row: Verification, check: Check) -> None:
    receipt = receipts.receipt_of(row)
    del receipt["seals"][1]
    status, said = check(receipt)
    assert (status, "seals are missing" in said) == (1, True)


def test_a_seal_that_the_database_lacks(history: list[Execution], check: Check) -> None:
    tamper("DELETE FROM audit_seal WHERE sequence = 2")
    status, said = check(receipts.receipt_of(verified(1, 3)))
    assert (status, "seals are missing" in said) == (1, True)


def test_a_key_that_the_first_one_introduced(history: list[Execution], check: Check) -> None:
    keys.rotate()
    sealing.seal()
    status, said = check(receipts.receipt_of(verified(1, 4)))
    assert status == 0, said


def test_a_key_after_a_loss_needs_its_own_fingerprint(history: list[Execution], check: Check) -> None:
    keys.key_path().unlink()
    lost = keys.replace_lost()
    sealing.seal()
    receipt = receipts.receipt_of(verified(1, 4))
    assert check(receipt)[0] == 1
    assert check(receipt, "--key", lost.fingerprint)[0] == 0


def test_seals_from_before_there_were_keys(
    history: list[Execution], check: Check, forget_what_was_signed: Callable[[], None]
) -> None:
    strip_signatures()
    forget_what_was_signed()
    sealing.seal()
    receipt = receipts.receipt_of(verified(1, 4))
    status, said = check(receipt)
    assert status == 0, said
    receipt["verification"]["reached"] = 3
    del receipt["seals"][3]
    status, said = check(receipt)
    assert (status, "has no signature" in said) == (1, True)


def test_a_head_that_left_the_machine(row: Verification, check: Check) -> None:
    receipt = receipts.receipt_of(row)
    assert check(receipt, "--head", Seal.objects.get(pk=2).head)[0] == 0
    status, said = check(receipt, "--head", f"2:{'0' * 64}")
    assert (status, "seal 2: differs from the head that you noted" in said) == (1, True)
    assert "does not cover it" in check(receipt, "--head", f"9:{'0' * 64}")[1]


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"type": "x"}', '{"type": 1, "version": 1}'])
def test_what_is_no_receipt(row: Verification, check: Check, content: str) -> None:
    assert check(content)[0] == 2


def test_a_fingerprint_that_is_none(row: Verification, check: Check) -> None:
    status, said = check(receipts.receipt_of(row), key="abc")
    assert (status, "64 hexadecimal digits" in said) == (2, True)


def test_it_is_downloaded_once_the_verification_has_ended(
    browser: Browser, history: list[Execution], check: Check
) -> None:
    row = verifications.start(1, 3, by="admin", http=None)
    address = reverse("admin:audit_verification_receipt", args=[row.pk])
    assert browser.get(address).status_code == 302
    verifications.run(row.pk)
    assert check(browser.get(address).content.decode())[0] == 0


def test_the_command_is_downloaded(visitor: Visitor) -> None:
    content = visitor("auditor").get(reverse("admin:audit_verification_command")).content
    assert content == receipts.COMMAND.read_bytes()
