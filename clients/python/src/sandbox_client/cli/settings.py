"""Where the address and the token come from: options, the environment, `sandbox login`."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sandbox_client import InvalidArgument, Sandbox
from sandbox_client.access import address_of, checked_token
from sandbox_client.cli.exits import Failed
from sandbox_client.clients import DEFAULT_URL, Progress

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "sandbox-platform"  # in the keyring


def folder() -> Path:
    """Return the folder of the settings: SANDBOX_CONFIG_DIR, or the system's place for them."""
    return Path(os.environ.get("SANDBOX_CONFIG_DIR") or click.get_app_dir("sandbox"))


def url(given: str | None) -> str:
    """Return the address of the platform. Raises Failed."""
    found = given or os.environ.get("SANDBOX_URL") or _read("settings.json").get("url") or DEFAULT_URL
    try:
        return address_of(str(found))
    except InvalidArgument as e:
        raise Failed(str(e)) from None


def token(address: str, *, use_keyring: bool = True) -> str:
    """Return the token for this platform; empty if there is none. Raises Failed.

    A keyring may ask to be unlocked, so only one that `sandbox login` has put a token into is used.
    """
    given = os.environ.get("SANDBOX_TOKEN") or _read("tokens.json").get(address)
    if not given and use_keyring and address in _in_keyring():
        given = _from_keyring(address)
    try:
        return checked_token(str(given or ""))
    except InvalidArgument as e:
        raise Failed(str(e)) from None


def client(context: click.Context, *, on_upload: Progress | None = None) -> Sandbox:
    """Return a client for the platform that the command is about."""
    address = url(context.find_root().obj)
    return Sandbox(address, token(address), on_upload=on_upload)


def remember(address: str, secret: str, *, use_keyring: bool) -> str:
    """Keep address and token, and return where the token is kept."""
    forget(address)
    kept = use_keyring and _into_keyring(address, secret)
    known = _in_keyring() + [address] * kept
    _write("settings.json", {"url": address} | ({"in_keyring": known} if known else {}))
    if kept:
        return "the keyring"
    _write("tokens.json", {**_read("tokens.json"), address: secret})
    return str(folder() / "tokens.json")


def forget(address: str) -> bool:
    """Remove the token of this platform, and return whether there was one."""
    known = _read("tokens.json")
    was_in_file = known.pop(address, None) is not None
    if was_in_file:
        _write("tokens.json", known)
    was_in_keyring = address in _in_keyring()
    if was_in_keyring:
        _out_of_keyring(address)
        left = [it for it in _in_keyring() if it != address]
        _write("settings.json", _read("settings.json") | {"in_keyring": left})
    return was_in_keyring or was_in_file


def _in_keyring() -> list[str]:
    """Return the platforms whose tokens `sandbox login` has put into the keyring."""
    found = _read("settings.json").get("in_keyring")
    return [str(it) for it in found] if isinstance(found, list) else []


def _read(name: str) -> dict[str, Any]:
    try:
        values = json.loads((folder() / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise Failed(f"{folder() / name} cannot be read: {e.strerror}") from e
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise Failed(f"{folder() / name} is not what `sandbox login` wrote: remove it and log in again")
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


def _keyring() -> KeyringBackend | None:
    """Return the keyring that is used; none that keeps secrets in a plain file, as those of keyrings.alt do."""
    import keyring
    from keyring.backends.chainer import ChainerBackend

    found = keyring.get_keyring()
    rings = found.backends if isinstance(found, ChainerBackend) else [found]
    return next((it for it in rings if not type(it).__module__.startswith("keyrings.alt")), None)


def _into_keyring(address: str, secret: str) -> bool:
    try:
        ring = _keyring()
        if ring is None:
            return False
        ring.set_password(SERVICE, address, secret)
        if ring.get_password(SERVICE, address) == secret:
            return True
    except Exception:  # noqa: S110 - the token is kept in the file then
        pass
    _out_of_keyring(address)
    return False


def _from_keyring(address: str) -> str | None:
    try:
        ring = _keyring()
        return ring.get_password(SERVICE, address) if ring else None
    except Exception:
        return None


def _out_of_keyring(address: str) -> None:
    with contextlib.suppress(Exception):
        if ring := _keyring():
            ring.delete_password(SERVICE, address)
