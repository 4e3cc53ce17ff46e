"""Name the actor of a change in one line of text: a user of the web UI or a client of the API."""

from typing import Any


def actor_of(caller: Any) -> str | None:
    """Return "client NAME" or "user NAME", or None for an anonymous caller."""
    if name := getattr(caller, "actor_name", None):
        return str(name)
    if getattr(caller, "is_authenticated", False) and hasattr(caller, "get_username"):
        return f"user {caller.get_username()}"
    return None


def actor_name(caller: Any) -> str:
    """Return `actor_of(caller)` for a column that is not nullable: "" for an anonymous caller."""
    return actor_of(caller) or ""
