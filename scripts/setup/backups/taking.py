"""Take a backup: what cannot be made again goes into one archive, while the services run."""

from __future__ import annotations

import json
import re
import subprocess
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.setup import envfile
from scripts.setup.backups import archive, encryption
from scripts.setup.backups.archive import Manifest
from scripts.setup.backups.installation import Installation, secret_paths
from scripts.setup.host import ROOT, SetupError, run, step

DUMP, ENV, IMAGES, RUNTIMES = "database.dump", "env", "images.json", "runtimes.json"
KEY, HEADS = "seal-key.tar", "heads.jsonl"
SECRET = "secret-"  # noqa: S105 -- a prefix of names
# The key, what it signed last, and a key that a rotation is about to put in force.
KEY_FILES = """
cd "$(dirname "$1")"
name=$(basename "$1")
set --
for file in "$name" "$name.head" "$name.new"; do
    if [ -e "$file" ]; then set -- "$@" "$file"; fi
done
tar -cf - --files-from /dev/null "$@"
"""
READ = 'if [ -e "$1" ]; then cat "$1"; fi'


def take(installation: Installation, to: Path, how: list[str]) -> Manifest:
    """Write the archive and return its manifest. `how`: options of age; empty for a plain archive.

    The key is read before the database: what it signed last must be in the dump, or the keeper would take the restored
    history for cut off. Raises SetupError.
    """
    if how:
        encryption.ensure()
    # Beside the archive, not in /tmp: the dump may be large, and is as secret as the archive.
    with TemporaryDirectory(prefix=".backup-", dir=to.parent) as made:
        folder = Path(made) / "files"
        folder.mkdir(mode=0o700)
        with step("backing up settings, secrets and the key of seals"):
            _settings(installation, folder)
            key = _key(installation, folder)
        with step("dumping the database") as current:
            server = installation.server()
            about = server.about()
            server.dump(folder / DUMP)
            current.note(f"{about['executions']:,} executions, {(folder / DUMP).stat().st_size:,} bytes")
        if key != _key(installation, folder):
            raise SetupError("the key of seals", "it was replaced during the backup", "run make backup again")
        _write(folder / RUNTIMES, json.dumps(server.runtimes(), indent=1).encode())
        _write(folder / IMAGES, json.dumps(installation.images(), indent=1).encode())
        manifest = Manifest(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=_commit(about),
            node=envfile.parse((folder / ENV).read_text(encoding="utf-8")).get("SANDBOX_NODE", ""),
            **{**about, "platform": about["platform"] or version()},
        )
        with step("writing the archive"):
            plain = Path(made) / "plain.tar" if how else to
            archive.write(folder, manifest, plain)
            if how:
                encryption.encrypt(plain, to, how)
    return manifest


def _settings(installation: Installation, folder: Path) -> None:
    env = installation.root / ".env"
    if not env.exists():
        raise SetupError("nothing to back up", f"{env} does not exist", "make")
    _write(folder / ENV, env.read_bytes())
    for path in secret_paths(installation.root):
        if path.exists():
            _write(folder / f"{SECRET}{path.name}", path.read_bytes())
    if heads := installation.heads():
        _write(folder / HEADS, _output(installation.shell(READ, heads), "reading the file of heads"))


def _key(installation: Installation, folder: Path) -> bytes:
    """Write the key with what is beside it, unless that was done, and return the key."""
    if not (path := installation.seal_key()):
        return b""
    if not (folder / KEY).exists():
        _write(folder / KEY, _output(installation.shell(KEY_FILES, path), "reading the key of seals"))
    return _output(installation.shell(READ, path), "reading the key of seals")


def _output(command: list[str], what: str) -> bytes:
    # Not by `run`, which logs what it reads.
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise SetupError(what, said[-2000:], "make doctor, then run the same command again")
    return done.stdout


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def known_migrations() -> dict[str, set[str]]:
    """Return the migrations of this checkout, by app."""
    found: dict[str, set[str]] = {}
    for path in sorted(ROOT.glob("*/**/migrations/[0-9]*.py")):
        if not path.relative_to(ROOT).parts[0].startswith("."):
            found.setdefault(path.parent.parent.name, set()).add(path.stem)
    return found


def _commit(about: dict[str, Any]) -> str:
    """Return the checkout's commit if the database is of its version, not of the one before an upgrade."""
    ours = known_migrations()
    same = {app: set(about["migrations"].get(app, [])) for app in ours} == ours
    return run(["git", "rev-parse", "HEAD"]).stdout.strip() if same else ""


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def file_name(node: str, word: str = "backup") -> str:
    safe = re.sub(r"[^a-z0-9-]+", "-", node.lower()).strip("-") or "node"
    return f"{word}-{safe}-{time.strftime('%Y%m%d-%H%M%S')}.tar"
