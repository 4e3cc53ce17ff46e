"""Where `sandbox login` keeps a token, and when a keyring is asked."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import keyring.core
import pytest
from click.testing import CliRunner
from keyring.backend import KeyringBackend
from keyring.backends.chainer import ChainerBackend
from sandbox_client.cli import cli, runtimes, settings

URL = "http://platform"
SECRET = "s3cret"  # noqa: S105


class Ring(KeyringBackend):
    priority = 1  # type: ignore[assignment]

    def __init__(self, *, forgets: bool = False) -> None:
        super().__init__()
        self.kept: dict[str, str] = {}
        self.asked = 0
        self._forgets = forgets

    def get_password(self, service: str, username: str) -> str | None:
        self.asked += 1
        return None if self._forgets else self.kept.get(username)

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[username]


class Plain(Ring):
    """Keeps secrets in a file, as those of keyrings.alt do."""


Plain.__module__ = "keyrings.alt.file"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SANDBOX_CONFIG_DIR", str(tmp_path))
    for name in ("SANDBOX_URL", "SANDBOX_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def use(monkeypatch: pytest.MonkeyPatch, ring: KeyringBackend) -> None:
    monkeypatch.setattr(keyring.core, "_keyring_backend", ring)


def test_a_keyring_is_asked_only_for_what_login_put_there(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, ring := Ring())
    ring.kept["http://other"] = SECRET
    assert (settings.token("http://other"), ring.asked) == ("", 0)
    assert settings.remember(URL, SECRET, use_keyring=True) == "the keyring"
    assert settings.token(URL) == SECRET
    settings.remember("http://second", SECRET, use_keyring=True)
    assert (settings.token(URL), settings.token("http://second")) == (SECRET, SECRET)
    assert (settings.forget(URL), settings.token(URL), URL in ring.kept) == (True, "", False)
    assert not settings.forget(URL)
    assert settings.token("http://second") == SECRET


def test_completion_asks_no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, ring := Ring())
    settings.remember(URL, SECRET, use_keyring=True)
    ring.asked = 0
    completed()
    assert ring.asked == 0


def completed() -> list[Any]:
    context = click.Context(cli)
    return runtimes.complete(context, click.Option(["--runtime"]), "")


@pytest.mark.parametrize("is_chain", [False, True])
def test_a_keyring_in_a_plain_file_is_none(is_chain: bool, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    plain, chain = Plain(), ChainerBackend()
    monkeypatch.setattr(ChainerBackend, "backends", [plain])
    use(monkeypatch, chain if is_chain else plain)
    assert settings.remember(URL, SECRET, use_keyring=True) == str(folder / "tokens.json")
    assert (plain.kept, settings.token(URL)) == ({}, SECRET)


def test_of_several_keyrings_the_first_that_encrypts_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, ring = Plain(), Ring()
    monkeypatch.setattr(ChainerBackend, "backends", [plain, ring])
    use(monkeypatch, ChainerBackend())
    assert settings.remember(URL, SECRET, use_keyring=True) == "the keyring"
    assert (plain.kept, ring.kept) == ({}, {URL: SECRET})


def test_a_keyring_that_forgets_keeps_nothing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    use(monkeypatch, ring := Ring(forgets=True))
    assert settings.remember(URL, SECRET, use_keyring=True) == str(folder / "tokens.json")
    assert (ring.kept, settings.token(URL)) == ({}, SECRET)


def test_a_missing_keyring_is_no_fault(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "keyring", ModuleType("keyring"))
    assert settings.remember(URL, SECRET, use_keyring=True) == str(folder / "tokens.json")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[]", b"[" * 100_000])
def test_settings_that_cannot_be_read_are_told(content: bytes, folder: Path) -> None:
    (folder / "settings.json").write_bytes(content)
    done = CliRunner().invoke(cli, ["runs"])
    assert (done.exit_code, "settings.json" in done.output) == (125, True)
    assert completed() == []


def test_settings_that_may_not_be_read_are_told(folder: Path) -> None:
    (folder / "settings.json").mkdir()
    done = CliRunner().invoke(cli, ["runs"])
    assert (done.exit_code, "settings.json cannot be read" in done.output) == (125, True)


@pytest.mark.parametrize("command", ["login", "runs"])
def test_a_token_in_the_address_is_neither_shown_nor_kept(command: str, folder: Path) -> None:
    done = CliRunner().invoke(cli, ["--url", f"http://user:{SECRET}@platform", command])
    assert (done.exit_code, SECRET in done.output, list(folder.iterdir())) == (125, False, [])


def test_a_token_of_the_environment_that_cannot_be_sent_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_TOKEN", f"{SECRET}ü")
    done = CliRunner().invoke(cli, ["--url", URL, "runs"])
    assert (done.exit_code, "the token has" in done.output, SECRET in done.output) == (125, True, False)


def test_what_login_keeps_is_that_of_the_address(folder: Path) -> None:
    settings.remember(URL, SECRET, use_keyring=False)
    assert json.loads((folder / "settings.json").read_text()) == {"url": URL}
    assert settings.url(None) == URL
