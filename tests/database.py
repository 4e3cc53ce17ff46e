"""Databases that were migrated once: whoever needs one of its own starts from a copy of its folder.

A session's processes share the templates: the first one that needs a template makes it, the others wait.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.embedded_postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "SANDBOX_TEST_TEMPLATES"
# What `bootstrap` takes from the environment: one template for each set of values.
SEEDS = (
    "ADMIN_USERNAME",
    "ADMIN_PASSWORD",
    "SANDBOX_BUILT_RUNTIMES",
    "SANDBOX_EXECUTOR_MANAGER_API_TOKEN",
    "SANDBOX_EXECUTOR_MANAGER_POOL_SIZE",
    "SANDBOX_MAX_MEMORY",
    "SANDBOX_TIMEOUT",
)
COPIED = ("data", "password")


@contextlib.contextmanager
def shared_templates() -> Iterator[None]:
    """The processes started meanwhile find the folder in their environment."""
    with tempfile.TemporaryDirectory(prefix="sandbox-platform-templates-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def migrated(folder: Path) -> EmbeddedPostgres:
    """A server, not yet started, whose database has all tables and no rows but those of the migrations."""
    return _copy(_migrated(), folder)


def bootstrapped(folder: Path, environment: Mapping[str, str]) -> EmbeddedPostgres:
    """A server, not yet started, whose database is that of a new installation with this environment."""
    seeds = {name: environment[name] for name in SEEDS if name in environment}
    name = hashlib.sha256(json.dumps(seeds, sort_keys=True).encode()).hexdigest()[:16]
    with _made_once(f"bootstrapped-{name}") as draft:
        if draft:
            _manage(_copy(_migrated(), draft), environment, "bootstrap")
    return _copy(_folder() / f"bootstrapped-{name}", folder)


def _migrated() -> Path:
    with _made_once("migrated") as draft:
        if draft:
            _manage(EmbeddedPostgres(draft, durable=False), os.environ, "migrate", "-v0")
    return _folder() / "migrated"


def _folder() -> Path:
    return Path(os.environ[FOLDER])


@contextlib.contextmanager
def _made_once(name: str) -> Iterator[Path | None]:
    """An empty folder to make the template in, or None when it exists."""
    with (_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (_folder() / name).exists():
            yield None
            return
        draft = _folder() / f"{name}.new"
        # Left by a process that died over it.
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        yield draft
        draft.rename(_folder() / name)


def _copy(template: Path, folder: Path) -> EmbeddedPostgres:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", *(template / name for name in COPIED), folder], check=True)
    return EmbeddedPostgres(folder, durable=False)


def _manage(server: EmbeddedPostgres, environment: Mapping[str, str], *arguments: str) -> None:
    server.start()
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env={"DJANGO_SECRET_KEY": "templates-only", **environment, "DATABASE_URL": server.url},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        server.stop()
    assert done.returncode == 0, done.stdout + done.stderr
