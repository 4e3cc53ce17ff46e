"""The key that signs seals (Ed25519).

Whoever may write to the database could otherwise compute the whole chain of seals again. Only the process that seals
has the private key. Public keys are rows, each signed by the key before it, so that a reader who knows the first
key's fingerprint trusts all of them.
"""

import hashlib
import os
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from audit.models import Seal, SealKey
from audit.models.seals import introduction
from sandbox_platform.kit.locks import Lock

MODE = 0o600
RESTORE = "restore the file from its copy, or run `manage.py rotate_seal_key --lost` (docs/audit.md, The key)"


class KeyUnusable(Exception):
    """Nothing can be signed. The message gives the reason and the remedy."""


class Signer(Protocol):
    """What signs. A key in a KMS fulfils this with its calls for the public key and for a signature."""

    @property
    def public_key(self) -> bytes:
        """Return the 32 bytes of the public key."""

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of the message. Raises KeyUnusable."""


class KeyFile:
    """A private key in a PEM file that only its owner reads."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    @classmethod
    def load(cls, path: Path) -> "KeyFile":
        try:
            if path.stat().st_mode & 0o077:
                raise KeyUnusable(f"{path} can be read by others: chmod 600 {path}")
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError as e:
            raise KeyUnusable(f"{path} is missing: {RESTORE}") from e
        except OSError as e:
            raise KeyUnusable(f"{path} cannot be read ({e.strerror}): correct its owner") from e
        except ValueError as e:
            raise KeyUnusable(f"{path} holds no private key: {RESTORE}") from e
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnusable(f"{path} holds a key of another kind than Ed25519: {RESTORE}")
        return cls(key)

    @classmethod
    def make(cls, path: Path) -> "KeyFile":
        """Write a new key to the file. Raises FileExistsError, and never overwrites a key."""
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_new(path, pem)
        return cls(key)


def write_new(path: Path, content: bytes) -> None:
    """Write a private file, which appears with its content. Raises FileExistsError."""
    draft = path.with_name(f"{path.name}.{uuid4().hex}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as file:
        give_to_owner_of_folder(draft)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(draft)
    finally:
        draft.unlink()


def give_to_owner_of_folder(path: Path) -> None:
    """With the direct engine the keeper is root, with the Docker engine it is not. Both must read the file."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)


def fingerprint(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_path() -> Path:
    if not settings.SANDBOX_SEAL_KEY_FILE:
        raise KeyUnusable(
            "SANDBOX_SEAL_KEY_FILE is not set here. The keeper has the key: "
            "docker compose exec keeper python3 manage.py …"
        )
    return Path(settings.SANDBOX_SEAL_KEY_FILE)


def signer() -> Signer:
    """Return what signs here. Raises KeyUnusable."""
    path = key_path()
    _finish_rotation(path)
    return KeyFile.load(path)


def prepare() -> str:
    """Make the key of a new installation, and return the fingerprint of this process's key.

    A key that is missing although the database knows one is not made anew, because it could not be trusted. Raises
    KeyUnusable.
    """
    path = key_path()
    if not path.exists() and not SealKey.objects.exists():
        try:
            KeyFile.make(path)
        except FileExistsError:
            pass  # by another process
        except OSError as e:
            raise KeyUnusable(f"{path} cannot be written ({e.strerror}): correct the owner of its folder") from e
    return fingerprint(signer().public_key)


def in_force(signer: Signer) -> SealKey:
    """Return the signer's row, made if it is the first key. The caller holds the lock of sealing.

    Raises KeyUnusable if another key is in force.
    """
    last = SealKey.objects.last()
    mine = fingerprint(signer.public_key)
    if last is None:
        return SealKey.objects.create(fingerprint=mine, public_key=signer.public_key, used_from=timezone.now())
    if last.fingerprint != mine:
        raise KeyUnusable(f"the key here is {mine}, but seals are signed by {last.fingerprint}: {RESTORE}")
    return last


def rotate() -> SealKey:
    """Put a new key in force, signed by the old one, which is then forgotten. Raises KeyUnusable.

    The new key is on the disk before its row is committed; `signer` finishes a rotation that ended between the two.
    """
    path = key_path()
    old = signer()
    draft = _draft(path)
    draft.unlink(missing_ok=True)
    new = KeyFile.make(draft)
    with transaction.atomic():
        lock()
        row = _introduce(new, in_force(old), old)
    draft.replace(path)
    return row


def lock(*, wait: bool = True) -> bool:
    """Take the lock of sealing until the transaction ends. Return whether this process has it."""
    function = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [Lock.SEAL])
        return wait or bool(cursor.fetchone()[0])


def replace_lost() -> SealKey:
    """Put a new key in force without the old one's signature. Verification then asks for its fingerprint.

    Raises KeyUnusable if nothing was lost.
    """
    path = key_path()
    with transaction.atomic():
        lock()
        last = SealKey.objects.last()
        if last is None:
            raise KeyUnusable("no key was used so far: the keeper makes the first one")
        key = KeyFile.load(path) if path.exists() else KeyFile.make(path)
        if fingerprint(key.public_key) == last.fingerprint:
            raise KeyUnusable("the key in force is not lost: run `manage.py rotate_seal_key` without --lost")
        return _introduce(key, last, None)


def _introduce(new: Signer, previous: SealKey, old: Signer | None) -> SealKey:
    row = SealKey(
        fingerprint=fingerprint(new.public_key),
        public_key=new.public_key,
        used_from=timezone.now(),
        previous=previous.fingerprint,
    )
    if old:
        row.signature = old.sign(introduction(row))
    row.save(force_insert=True)
    return row


def _draft(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _finish_rotation(path: Path) -> None:
    draft = _draft(path)
    last = SealKey.objects.last()
    if draft.exists() and last and fingerprint(KeyFile.load(draft).public_key) == last.fingerprint:
        draft.replace(path)


class HistoryReplaced(Exception):
    """The database does not hold the seal that was made here last. The message gives the remedy."""

    def __init__(self, head: str) -> None:
        super().__init__(
            f"seal {head} was made here, but the database does not hold it: history was cut off or replaced. Run "
            "`manage.py verify_audit`. If you have restored a backup, run `manage.py seal --after-restore` once"
        )
        self.head = head


def last_head() -> tuple[int, str] | None:
    """Return number and hash of the seal that this key signed last.

    The file beside the key is what a writer of the database cannot change: without it, the keeper would sign whatever
    is left after the end of the chain was cut off.
    """
    path = _head_path()
    try:
        sequence, _, hash_ = path.read_text().strip().partition(":")
        return int(sequence), hash_
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise KeyUnusable(
            f"{path} cannot be read: correct its owner; it holds NUMBER:HASH of the last seal"
        ) from e


def remember(seal: Seal) -> None:
    """Note the seal as the last one that was signed here. Raises KeyUnusable."""
    path = _head_path()
    # Two processes that seal one after the other may write at the same time.
    draft = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        write_new(draft, f"{seal.head}\n".encode())
        draft.replace(path)
    except OSError as e:
        raise KeyUnusable(f"{path} cannot be written ({e.strerror}): correct its owner, or free disk space") from e


def check_history() -> None:
    """Raise HistoryReplaced if the seal made here last is not in the database."""
    head = last_head()
    if head and not Seal.objects.filter(sequence=head[0], hash=head[1]).exists():
        raise HistoryReplaced(f"{head[0]}:{head[1]}")


def _head_path() -> Path:
    path = key_path()
    return path.with_name(path.name + ".head")
