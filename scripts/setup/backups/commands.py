"""`make backup` and `make restore`. docs/backup.md describes both."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.setup import docker, envfile, stack
from scripts.setup.backups import archive, encryption, restoring
from scripts.setup.backups.archive import Manifest
from scripts.setup.backups.installation import Stack
from scripts.setup.backups.taking import file_name, take
from scripts.setup.host import ROOT, SetupError, say

FOLDER = ROOT / "backups"
WORD = "restore"


def backup() -> None:
    """TO: file or folder. RECIPIENT, PASSPHRASE=yes: encrypt."""
    stack.first_host_only("make backup")
    docker.ensure_running()
    envfile.ensure()
    recipients = os.environ.get("RECIPIENT") or envfile.settings().get("SANDBOX_BACKUP_RECIPIENT", "")
    how = encryption.options(recipients, passphrase=_is_set("PASSPHRASE"))
    to = _target(os.environ.get("TO", ""), encrypted=bool(how))
    with database_up():
        take(Stack(), to, how)
    say(f"""
{to}, {to.stat().st_size:,} bytes
  SHA-256   {archive.sha256(to)}
  {"encrypted: keep what opens it elsewhere" if how else "NOT encrypted: it holds all secrets (RECIPIENT=… encrypts)"}
  Restore   make restore BACKUP={to}
""")


def _target(wanted: str, *, encrypted: bool, word: str = "backup") -> Path:
    path = Path(wanted).expanduser() if wanted else FOLDER
    if not wanted:
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        FOLDER.chmod(0o700)
    if path.is_dir():
        path = path / (file_name(stack.node(), word) + (encryption.SUFFIX if encrypted else ""))
    path = path.absolute()
    if path.exists():
        raise SetupError(f"TO={path}", "it exists already", "name another file, or a folder")
    if not path.parent.is_dir():
        raise SetupError(f"TO={path}", f"the folder {path.parent} does not exist", f"mkdir -p {path.parent}")
    return path


def restore() -> None:
    """BACKUP: the archive. IDENTITY: file of private keys. YES=yes: no question. SAVE=no: no backup of before."""
    stack.first_host_only("make restore")
    name = os.environ.get("BACKUP", "")
    if not name:
        raise SetupError("which backup?", "BACKUP is not set", "make restore BACKUP=backups/FILE")
    path = Path(name).expanduser().absolute()
    with restoring.opened(path, os.environ.get("IDENTITY", "")) as (manifest, folder):
        for line in describe(manifest):
            say(line)
        installation = Stack()
        if installation.is_present():
            confirm(yes=_is_set("YES"))
            docker.ensure_running()
            if _is_set("SAVE", default="yes"):
                save(installation)
            # With the settings that it was started with.
            stack.stop()
        restoring.restore(installation, manifest, folder)
    stack.report()


def describe(manifest: Manifest) -> list[str]:
    return [
        f"Backup of {manifest.node}, {manifest.created}: version {manifest.platform}, "
        f"Postgres {manifest.postgres}, {manifest.executions:,} executions"
    ]


def confirm(*, yes: bool) -> None:
    if yes:
        return
    fix = "run it on a terminal, or with YES=yes"
    if not sys.stdin.isatty():
        raise SetupError("make restore replaces this installation", "nobody can be asked here", fix)
    say("This replaces the database, the settings (.env) and the keys of the installation that is here.")
    if input(f'Type "{WORD}" to go on: ').strip() != WORD:
        raise SetupError("make restore", "not confirmed; nothing was changed", fix)


@contextlib.contextmanager
def database_up() -> Iterator[None]:
    """Start Postgres for the block if the stack is stopped."""
    is_down = not envfile.settings().get("DATABASE_URL") and not stack.services().get("postgres")
    if is_down:
        stack.start_postgres()
    try:
        yield
    finally:
        if is_down:
            stack.stop()


def save(installation: Stack) -> None:
    """Back up what will be replaced."""
    try:
        if not envfile.ENV.exists():
            raise SetupError("the backup of before", "there is a database, but no .env", "")
        envfile.ensure()
        to = _target("", encrypted=False, word="before-restore")
        with database_up():
            take(installation, to, [])
    except SetupError as error:
        raise SetupError(
            "backing up what the restore replaces",
            str(error.args[0]),
            "correct it; or add SAVE=no if nothing of it is needed",
        ) from error
    say(f"    what is replaced is in {to}")


def _is_set(name: str, default: str = "") -> bool:
    return (os.environ.get(name) or default).lower() in {"1", "yes", "true", "y"}
