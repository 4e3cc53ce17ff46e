"""When inviting and joining are refused, and with which remedy."""

from pathlib import Path

import pytest

from scripts.setup import envfile
from scripts.setup.host import SetupError
from scripts.setup.hosts import commands, invitation
from scripts.setup.hosts.invitation import Invitation, platform_version
from tests.scripts.hosts.test_invitation import CA, PASSWORDS

PUBLISHED = "COMPOSE_FILE=docker-compose.yml:docker-compose.hosts.yml\n"


@pytest.fixture(autouse=True)
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(envfile, "ENV", tmp_path / ".env")
    for name in ("NODE", "TO", "FROM", "COMPOSE_FILE", "DATABASE_URL", "SANDBOX_DATABASE_BIND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(commands, "provide", lambda *others: pytest.fail("it was installed"))
    return envfile.ENV


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is not published"),
        ("SANDBOX_DATABASE_BIND=192.0.2.7\n", "it is not published"),
        (PUBLISHED, "it is not published"),
        (f"{PUBLISHED}SANDBOX_DATABASE_BIND=0.0.0.0\n", "its certificate names it"),
        (f"{PUBLISHED}SANDBOX_DATABASE_BIND=127.0.0.1\n", "its certificate names it"),
        (f"{PUBLISHED}DATABASE_URL=postgresql://db/x\n", "another Postgres"),
        ("COMPOSE_FILE=docker-compose.yml:docker-compose.worker.yml\n", "has joined another one"),
    ],
)
def test_nobody_is_invited_unless_the_database_is_published_on_purpose(env: Path, text: str, told: str) -> None:
    env.write_text(text)
    with pytest.raises(SetupError) as refused:
        commands.refuse_unless_publishing(envfile.settings())
    assert told in refused.value.cause


def test_an_address_of_its_own_may_be_published(env: Path) -> None:
    env.write_text(f"{PUBLISHED}SANDBOX_DATABASE_BIND=192.0.2.7\n")
    commands.refuse_unless_publishing(envfile.settings())


def test_an_installation_is_not_turned_into_a_worker_host(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env.write_text("COMPOSE_FILE=docker-compose.yml\n")
    monkeypatch.setenv("FROM", "x.json")
    with pytest.raises(SetupError, match="installation of its own"):
        commands.join()
    assert env.read_text() == "COMPOSE_FILE=docker-compose.yml\n"


@pytest.mark.parametrize(
    ("node", "told"), [("first", "the first host has this name"), ("No Name", "a node's name")]
)
def test_a_name_that_cannot_be_is_refused_before_anything_is_written(
    env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str, told: str
) -> None:
    path = tmp_path / "one.json"
    invitation.write(path, Invitation(platform_version(), "first", "127.0.0.1", 9, CA, PASSWORDS, {}))
    monkeypatch.setenv("FROM", str(path))
    monkeypatch.setenv("NODE", node)
    with pytest.raises(SetupError) as refused:
        commands.join()
    assert told in refused.value.cause
    assert not env.exists()


def test_a_database_that_is_not_reached_is_told_before_anything_is_written(
    env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(found: Invitation) -> None:
        raise SetupError("there", "not reachable", "open the port")

    path = tmp_path / "one.json"
    invitation.write(path, Invitation(platform_version(), "first", "127.0.0.1", 9, CA, PASSWORDS, {}))
    monkeypatch.setenv("FROM", str(path))
    monkeypatch.setattr(commands.reaching, "check", unreachable)
    with pytest.raises(SetupError, match="not reachable"):
        commands.join()
    assert not env.exists()
