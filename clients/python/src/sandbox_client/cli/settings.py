"""Where the address and the token come from: options, the environment, `sandbox login`."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click

from sandbox_client import Sandbox
from sandbox_client.clients import DEFAULT_URL, Progress

SERVICE = "sandbox-platform"  # in the keyring


def folder() -> Path:
    """Return the folder of the settings: SANDBOX_CONFIG_DIR, or the system's place for them."""
    return Path(os.environ.get("SANDBOX_CONFIG_DIR") or click.get_app_dir("sandbox"))


def url(given: str | None) -> str:
    """Return the address of the platform."""
    found = given or os.environ.get("SANDBOX_URL") or _read("settings.json").get("url") or DEFAULT_URL
    return str(found).rstrip("/")


def token(address: str) -> str:
    """Return the token for this platform; empty if there is none."""
    if given := os.environ.get("SANDBOX_TOKEN"):
        return given
    return _read("tokens.json").get(address) or _from_keyring(address) or ""


def client(context: click.Context, *, on_upload: Progress | None = None) -> Sandbox:
    """Return a client for the platform that the command is about."""
    address = url(context.find_root().obj)
    return Sandbox(address, token(address), on_upload=on_upload)


def remember(address: str, secret: str, *, use_keyring: bool) -> str:
    """Keep address and token, and return where the token is kept."""
    forget(address)
    _write("settings.json", {"url": address})
    if use_keyring and _into_keyring(address, secret):
        return "the keyring"
    _write("tokens.json", {**_read("tokens.json"), address: secret})
    return str(folder() / "tokens.json")


def forget(address: str) -> bool:
    """Remove the token of this platform, and return whether there was one."""
    known = _read("tokens.json")
    was_in_file = known.pop(address, None) is not None
    if was_in_file:
        _write("tokens.json", known)
    return _out_of_keyring(address) or was_in_file


def _read(name: str) -> dict[str, Any]:
    try:
        text = (folder() / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise click.ClickException(
            f"{folder() / name} is not what `sandbox login` wrote: remove it and log in again"
        )
    return values


def _write(name: str, values: dict[str, Any]) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, path = tempfile.mkstemp(dir=folder())  # with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=2)
        os.replace(path, folder() / name)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


# A keyring may be missing, locked, or fail only when it is used, with errors of its own.


def _into_keyring(address: str, secret: str) -> bool:
    try:
        import keyring

        keyring.set_password(SERVICE, address, secret)
        return keyring.get_password(SERVICE, address) == secret
    except Exception:
        return False


def _from_keyring(address: str) -> str | None:
    try:
        import keyring

        return keyring.get_password(SERVICE, address)
    except Exception:
        return None


def _out_of_keyring(address: str) -> bool:
    try:
        import keyring

        keyring.delete_password(SERVICE, address)
        return True
    except Exception:
        return False
