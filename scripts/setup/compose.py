"""The Compose command line: which files describe the stack, and what is told to them beyond .env."""

from __future__ import annotations

from collections.abc import Mapping

from scripts.setup import engine, envfile
from scripts.setup.docker import cli, command

# Gives worker and keeper the rights to start sandboxes without Docker.
DIRECT_FILE = "docker-compose.direct.yml"


def compose(*words: str, choice: engine.Choice | None = None, told: Mapping[str, str] | None = None) -> list[str]:
    """Return a Compose command for the stack with its present engine, or with another one.

    `told`: variables for Compose's files beyond those of .env.
    """
    choice = choice or engine.present()
    # Compose reads COMPOSE_FILE from .env, which names the files, but an environment variable comes first.
    variables = [
        f"COMPOSE_FILE={files(envfile.settings(), choice.engine)}",
        f"SANDBOX_ENGINE_REASON={choice.reason}",
        *(f"{name}={value}" for name, value in (told or {}).items()),
    ]
    line = command("compose", *words)
    # Not before sudo, which clears the environment.
    at = line.index(cli())
    return [*line[:at], "env", *variables, *line[at:]]


def files(settings: dict[str, str], chosen: str) -> str:
    named = settings.get("COMPOSE_FILE") or "docker-compose.yml"
    added = chosen == engine.DIRECT and DIRECT_FILE not in named.split(":")
    return f"{named}:{DIRECT_FILE}" if added else named
