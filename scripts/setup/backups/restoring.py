"""Put a backup in the place of an installation, or of nothing on a new machine."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.setup import envfile, secret_files
from scripts.setup.backups import archive, encryption
from scripts.setup.backups.archive import Manifest
from scripts.setup.backups.installation import Installation
from scripts.setup.backups.taking import DUMP, ENV, HEADS, KEY, RUNTIMES, SECRET, known_migrations, version
from scripts.setup.host import ROOT, SetupError, detail, parse_version, step
from scripts.setup.hosts import authority

# $1: the key's path, $2: the path of the heads or nothing; on standard input: the archive of the key. Where the same
# key is there, its note of the last seal stays: with it, the keeper states which seals the backup has replaced.
# Otherwise the key and the heads belong to another history, and heads step aside.
PUT_KEY = """
folder=$(dirname "$1") name=$(basename "$1") new=$(mktemp -d "$(dirname "$1")/.restored-XXXXXX")
trap 'rm -rf "$new"' EXIT
tar -xf - -C "$new"
if [ -e "$new/$name" ] && ! cmp -s "$new/$name" "$1"; then
    if [ -n "$2" ] && [ -s "$2" ]; then mv -f "$2" "$2.before-restore"; fi
    rm -f "$1" "$1.head" "$1.new"
    chmod 600 "$new"/*
    mv -f "$new"/* "$folder"
fi
"""
# $1: the path. What is there already is newer, and evidence.
PUT_HEADS = 'if [ -s "$1" ]; then cat > /dev/null; else cat > "$1" && chmod 644 "$1"; fi'


@contextlib.contextmanager
def opened(path: Path, identity: str = "") -> Iterator[tuple[Manifest, Path]]:
    """Give the manifest and a private folder with the archive's files. Raises SetupError before anything is changed."""
    if not path.is_file():
        raise archive.refused(path, "does not exist, or is no file")
    with TemporaryDirectory(prefix=".restore-", dir=path.parent) as made:
        plain, folder = path, Path(made) / "files"
        if encryption.is_encrypted(path):
            plain = Path(made) / "plain.tar"
            encryption.decrypt(path, plain, identity)
        folder.mkdir(mode=0o700)
        manifest = archive.unpack(plain, folder)
        if plain != path:
            plain.unlink()
        if missing := {DUMP, ENV, RUNTIMES} - set(manifest.files):
            raise archive.refused(path, f"is damaged: {', '.join(sorted(missing))} is missing")
        refuse_newer(path, manifest)
        yield manifest, folder


def refuse_newer(path: Path, manifest: Manifest) -> None:
    """Raise SetupError if this version does not know the database of the backup."""
    fix = f"check out {manifest.commit[:12] or 'version ' + manifest.platform}, then make restore"
    if parse_version(manifest.platform) > parse_version(version()):
        raise archive.refused(path, f"is of version {manifest.platform}; here is {version()}", fix)
    for app, known in known_migrations().items():
        if unknown := sorted(set(manifest.migrations.get(app, [])) - known):
            raise archive.refused(path, f"is of a newer version: {app} has {unknown[-1]}, unknown here", fix)


def is_older(manifest: Manifest) -> bool:
    """Return whether migrations will follow."""
    return any(known - set(manifest.migrations.get(app, [])) for app, known in known_migrations().items())


def restore(installation: Installation, manifest: Manifest, folder: Path) -> str:
    """Replace settings, database and keys by those of the backup, start the services, and verify the seals.

    Return what the verification said. A failure leaves what was not reached yet as it was; the same command starts
    over. Raises SetupError.
    """
    with step("settings and secrets"):
        put_settings(installation.root, folder)
    installation.prepare()
    installation.start_database()
    with step("restoring the database") as current:
        installation.server().replace(folder / DUMP, manifest)
        current.note(f"{manifest.executions:,} executions")
        if is_older(manifest):
            current.note("of an older version: the start migrates it")
    with step("the key of seals, and their heads"):
        put_key(installation, folder)
    installation.start()
    said = verify(installation)
    for line in missing_images(installation, folder):
        detail(line)
    return said


def put_settings(root: Path, folder: Path) -> None:
    envfile.write_private(root / ".env", (folder / ENV).read_text(encoding="utf-8"))
    secrets = root / secret_files.FOLDER.name
    secrets.mkdir(mode=0o700, exist_ok=True)
    for path in folder.glob(f"{SECRET}*"):
        target = secrets / path.name.removeprefix(SECRET)
        target.unlink(missing_ok=True)
        target.touch(mode=0o600)
        target.write_bytes(path.read_bytes())
        target.chmod(0o600 if target.name == authority.CA_KEY else 0o444)  # see secret_files.py


def put_key(installation: Installation, folder: Path) -> None:
    key, heads = installation.seal_key(), installation.heads()
    if key and (folder / KEY).exists():
        _feed(installation.shell(PUT_KEY, key, heads), folder / KEY, "the key of seals")
    if heads and (folder / HEADS).exists():
        _feed(installation.shell(PUT_HEADS, heads), folder / HEADS, "the file of heads")


def _feed(command: list[str], path: Path, what: str) -> None:
    with path.open("rb") as content:
        done = subprocess.run(command, cwd=ROOT, stdin=content, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise SetupError(what, said, "correct the cause, then make restore again")


def verify(installation: Installation) -> str:
    """Seal, which states that a backup was restored, and verify all history."""
    with step("sealing and verifying the history") as current:
        if installation.seal_key():
            status, said = installation.manage("keeper", "seal", "--after-restore")
            if status != 0:
                raise SetupError("sealing the restored history", said, "see docs/backup.md, After a restore")
        status, said = installation.manage("worker", "verify_audit")
        for line in said.splitlines():
            current.note(line)
        if status != 0:
            raise SetupError(
                "the restored history does not match its seals",
                said,
                "the services run; docs/backup.md, After a restore, says what findings mean",
            )
        return said


def missing_images(installation: Installation, folder: Path) -> Iterator[str]:
    """Say which enabled runtimes lack their image on this machine, and how to make it again."""
    for runtime in json.loads((folder / RUNTIMES).read_text(encoding="utf-8")):
        if not runtime["enabled"] or installation.has_image(runtime["built_image"] or runtime["image"]):
            continue
        packages = ", ".join(f"{kind}: {' '.join(names)}" for kind, names in runtime["packages"].items() if names)
        if runtime["built_image"]:
            remedy = f"build it again on the runtime's page ({packages or 'pull the image'})"
        else:
            remedy = f"make build RUNTIMES={runtime['slug']}, or docker pull {runtime['image']}; then make restart"
        yield f"the image of the runtime {runtime['slug']} is not on this machine: {remedy}"
