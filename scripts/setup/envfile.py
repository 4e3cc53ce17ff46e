"""`.env`: made from `.env.example`, completed when a variable is missing, never overwritten."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.setup.docker import socket_path
from scripts.setup.host import ROOT, step

ENV = ROOT / ".env"
EXAMPLE = ROOT / ".env.example"
ASSIGNMENT = re.compile(r"^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")


def node_name() -> str:
    """A Docker label and a row's key: a host's name may hold more than both like."""
    return re.sub(r"[^a-z0-9_.-]+", "-", socket.gethostname().lower()).strip("-.") or "node-1"


def docker_gid() -> str:
    try:
        return str(socket_path().stat().st_gid)
    except FileNotFoundError:
        return ""


# urlsafe: they stand in a database URL, in `http://ragflow:TOKEN@host`, and in this file without quotes.
GENERATED: dict[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(24),
    "DJANGO_SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "ADMIN_PASSWORD": lambda: secrets.token_urlsafe(15),
    "SANDBOX_EXECUTOR_MANAGER_API_TOKEN": lambda: "sbx_" + secrets.token_urlsafe(32),
    "SANDBOX_NODE": node_name,
    "DOCKER_GID": docker_gid,
}
# Facts of the machine rather than settings: a wrong value is mended, not kept.
REFRESHED = {"DOCKER_GID"}


def parse(text: str) -> dict[str, str]:
    values = {}
    for line in text.splitlines():
        if found := ASSIGNMENT.match(line.strip()):
            name, value = found.groups()
            quoted = re.fullmatch(r"(['\"])(.*)\1", value.strip())
            values[name] = quoted.group(2) if quoted else value.strip()
    return values


def read() -> dict[str, str]:
    return parse(ENV.read_text(encoding="utf-8")) if ENV.exists() else {}


def settings() -> dict[str, str]:
    """`.env` as Compose sees it: a variable of the environment wins."""
    values = read()
    return {name: os.environ.get(name, value) for name, value in values.items()}


def complete(existing: str, example: str, generated: Mapping[str, Callable[[], str]]) -> tuple[str, list[str]]:
    """The text of `.env` and the names that were added, filled in or refreshed."""
    changed: list[str] = []
    lines: list[str] = []
    for line in existing.splitlines():
        found = ASSIGNMENT.match(line.strip())
        name, value = found.groups() if found else ("", "")
        if name in generated and (not value or name in REFRESHED):
            fresh = generated[name]()
            if fresh and fresh != value:
                line = f"{name}={fresh}"
                changed.append(name)
        lines.append(line)
    known = parse(existing)
    comment: list[str] = []
    for line in example.splitlines():
        found = ASSIGNMENT.match(line)
        if not found:
            # A blank line or a heading ends the comment that belongs to the next variable.
            comment = [*comment, line] if line.startswith("#") and not line.startswith("# ---") else []
            if not existing:
                lines.append(line)
            continue
        name, default = found.groups()
        if name not in known:
            value = default or (generated[name]() if name in generated else "")
            if existing:
                lines += ["", *comment]
            lines.append(f"{name}={value}")
            changed.append(name)
        comment = []
    return "\n".join(lines) + "\n", changed


def ensure() -> None:
    with step("settings in .env") as current:
        existing = ENV.read_text(encoding="utf-8") if ENV.exists() else ""
        text, changed = complete(existing, EXAMPLE.read_text(encoding="utf-8"), GENERATED)
        if text != existing:
            write_private(ENV, text)
        if not existing:
            current.note("written, with generated secrets")
        elif changed:
            current.note("completed: " + ", ".join(changed))
        else:
            current.note("complete")
        ENV.chmod(0o600)


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and readable by nobody else at any moment."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(path)
