"""Encrypt and decrypt archives with age (https://age-encryption.org), which Debian has."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from scripts.setup import apt
from scripts.setup.host import SetupError

HEADERS = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
SUFFIX = ".age"


def ensure() -> None:
    if shutil.which("age") is None:
        apt.install(["age"])


def is_encrypted(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).startswith(HEADERS)


def options(recipients: str, *, passphrase: bool) -> list[str]:
    """Return age's options. `recipients`: public keys (age1…, ssh-…) or files of them, comma-separated."""
    if passphrase:
        return ["--passphrase"]
    words: list[str] = []
    for one in filter(None, (each.strip() for each in recipients.split(","))):
        is_key = one.startswith(("age1", "ssh-"))
        words += ["--recipient" if is_key else "--recipients-file", one if is_key else str(Path(one).expanduser())]
    return words


def encrypt(plain: Path, to: Path, how: Sequence[str]) -> None:
    """Write the encrypted archive, with mode 0600. With `--passphrase`, age asks on the terminal."""
    draft = to.with_name(to.name + ".new")
    try:
        _age(
            ["--encrypt", *how, "--output", str(draft), str(plain)],
            "encrypting the backup",
            "correct RECIPIENT (or SANDBOX_BACKUP_RECIPIENT in .env), then make backup",
        )
        draft.replace(to)
    finally:
        draft.unlink(missing_ok=True)


def decrypt(path: Path, to: Path, identity: str) -> None:
    """Write the plain archive, with mode 0600. `identity`: a file of private keys; empty: a passphrase is asked."""
    how = ["--identity", str(Path(identity).expanduser())] if identity else []
    _age(
        ["--decrypt", *how, "--output", str(to), str(path)],
        f"decrypting {path}",
        "make restore BACKUP=FILE IDENTITY=FILE, with the private key of its recipient, or the right passphrase",
    )


def _age(words: list[str], check: str, fix: str) -> None:
    ensure()
    # Not captured: age asks for passphrases on the terminal.
    done = subprocess.run(["age", *words], check=False, umask=0o077, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SetupError(check, done.stderr.strip() or f"age exited with status {done.returncode}", fix)
