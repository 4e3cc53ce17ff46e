"""Create `.env` from `.env.example`, or add missing variables to it. Existing values are kept."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.setup import secret_files
from scripts.setup.docker import socket_path
from scripts.setup.host import ROOT, step

ENV = ROOT / ".env"
EXAMPLE = ROOT / ".env.example"
# The Compose file that adds Caddy; see docs/tls.md.
TLS_FILE = "docker-compose.tls.yml"
# The one with which other hosts can join, and that of a host that has joined; see docs/hosts.md.
HOSTS_FILE = "docker-compose.hosts.yml"
RAGFLOW_FILE = "docker-compose.ragflow.yml"
WORKER_FILE = "docker-compose.worker.yml"
ASSIGNMENT = re.compile(r"^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")


def node_name() -> str:
    """Return the host's name, reduced to the characters allowed in a Docker label and a row's key."""
    return re.sub(r"[^a-z0-9_.-]+", "-", socket.gethostname().lower()).strip("-.") or "node-1"


def docker_gid() -> str:
    try:
        return str(socket_path().stat().st_gid)
    except FileNotFoundError:
        return ""


# The services that have a role of their own in Postgres.
SERVICES = ("WEB", "WORKER", "KEEPER", "CALLBACKS", "EGRESS")
# urlsafe: the values are used in a database URL, in `http://ragflow:TOKEN@host`, and unquoted in this file.
GENERATED: dict[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(24),
    **{f"SANDBOX_DATABASE_{service}_PASSWORD": lambda: secrets.token_urlsafe(24) for service in SERVICES},
    "DJANGO_SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "SANDBOX_CALLBACK_KEY": lambda: secrets.token_urlsafe(50),
    "SANDBOX_METRICS_TOKEN": lambda: "sbm_" + secrets.token_urlsafe(32),
    "ADMIN_PASSWORD": lambda: secrets.token_urlsafe(15),
    "SANDBOX_EXECUTOR_MANAGER_API_TOKEN": lambda: "sbx_" + secrets.token_urlsafe(32),
    "SANDBOX_NODE": node_name,
    "DOCKER_GID": docker_gid,
}
# Facts about the machine, not settings: a wrong value is replaced.
REFRESHED = {"DOCKER_GID"}
# What a host generates that has joined another one. Its secrets come with the invitation.
OF_JOINED = ("SANDBOX_NODE", "DOCKER_GID")


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
    """Return `.env` as Compose reads it: environment variables take precedence."""
    values = read()
    return {name: os.environ.get(name, value) for name, value in values.items()}


def has_tls() -> bool:
    """Return whether Caddy stands in front of the web."""
    return TLS_FILE in _compose_files()


def publishes_database() -> bool:
    """Return whether other hosts can reach this one's Postgres."""
    return HOSTS_FILE in _compose_files()


def is_joined() -> bool:
    """Return whether the database, the web and the callbacks are on another host."""
    return WORKER_FILE in _compose_files()


def _compose_files() -> list[str]:
    return settings().get("COMPOSE_FILE", "").split(":")


def complete(existing: str, example: str, generated: Mapping[str, Callable[[], str]]) -> tuple[str, list[str]]:
    """Return the new text of `.env`, and the names that were added, filled in or refreshed."""
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
            # A blank line or a heading ends a comment: it does not belong to the next variable.
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


def with_values(text: str, values: Mapping[str, str]) -> str:
    """Return the text of `.env` with these values. Those that it does not have are added at its end."""
    lines, left = [], dict(values)
    for line in text.splitlines():
        found = ASSIGNMENT.match(line.strip())
        lines.append(f"{found[1]}={left.pop(found[1])}" if found and found[1] in left else line)
    return "\n".join([*lines, *(f"{name}={value}" for name, value in left.items())]) + "\n"


def with_callback_key(existing: str) -> str:
    """Return the text of `.env` in which the one key of before is the key of callbacks, whose secrets then stay.

    Sessions get another key, for which only everybody logs in again.
    """
    if "SANDBOX_CALLBACK_KEY" in parse(existing):
        return existing
    lines: list[str] = []
    for line in existing.splitlines():
        found = ASSIGNMENT.match(line.strip())
        if found and found[1] == "DJANGO_SECRET_KEY" and found[2]:
            lines += ["DJANGO_SECRET_KEY=", f"SANDBOX_CALLBACK_KEY={found[2]}"]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n" if existing else existing


def ensure() -> None:
    with step("settings in .env") as current:
        existing = ENV.read_text(encoding="utf-8") if ENV.exists() else ""
        joined = is_joined()
        generated = {name: make for name, make in GENERATED.items() if not joined or name in OF_JOINED}
        before = existing if joined else with_callback_key(existing)
        text, changed = complete(before, EXAMPLE.read_text(encoding="utf-8"), generated)
        if text != existing:
            write_private(ENV, text)
        if not existing:
            current.note("written, with generated secrets")
        elif changed:
            current.note("completed: " + ", ".join(changed))
        else:
            current.note("complete")
        ENV.chmod(0o600)
        if made := secret_files.write(settings()):
            current.note("made secrets: " + ", ".join(made))


def write_private(path: Path, text: str) -> None:
    """Write the file atomically, with mode 0600 from the start."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(path)
