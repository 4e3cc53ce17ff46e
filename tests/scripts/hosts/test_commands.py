"""When inviting and joining are refused, and with which remedy."""

import subprocess
from pathlib import Path

import pytest

from scripts.setup import envfile, secret_files
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


@pytest.mark.parametrize(
    ("asked", "invited", "present", "name"),
    [
        ("asked", "invited", "present", "asked"),
        ("", "invited", "present", "invited"),
        ("", "", "present", "present"),
        ("", "", "", "of-the-host"),
    ],
)
def test_the_name_is_the_wanted_one(
    env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, invited: str, present: str, name: str
) -> None:
    path, joined = tmp_path / "one.json", []
    sent = Invitation(platform_version(), "first", "127.0.0.1", 9, CA, PASSWORDS, {}, invited)
    invitation.write(path, sent)
    if present:
        env.write_text(
            f"COMPOSE_FILE=docker-compose.yml:{envfile.WORKER_FILE}\nSANDBOX_NODE={present}\nOWN=kept\n"
        )
    monkeypatch.setenv("FROM", str(path))
    monkeypatch.setenv("NODE", asked)
    monkeypatch.setattr(envfile, "node_name", lambda: "of-the-host")
    monkeypatch.setattr(secret_files, "FOLDER", tmp_path / "secrets")
    monkeypatch.setattr(commands.reaching, "check", lambda found: None)
    monkeypatch.setattr(commands, "provide", lambda *others: None)
    monkeypatch.setattr(commands.stack, "choose_engine", lambda: None)
    monkeypatch.setattr(commands, "check_node", joined.append)
    monkeypatch.setattr(commands.stack, "start", lambda: None)
    commands.join()
    assert joined == [name]
    assert envfile.read()["SANDBOX_NODE"] == name
    assert envfile.read().get("OWN") == ("kept" if present else None)


@pytest.mark.parametrize(
    ("status", "check", "remedy"),
    [
        (3, "images", "docker load"),
        (4, "this node's name", "NODE=another"),
        (1, "what the first", "make invite again"),
    ],
)
def test_each_failure_of_the_check_has_its_remedy(
    monkeypatch: pytest.MonkeyPatch, status: int, check: str, remedy: str
) -> None:
    monkeypatch.setattr(commands.stack, "ids", lambda kind, *filters: {})
    monkeypatch.setattr(commands, "compose", lambda *words: [*words])
    monkeypatch.setattr(commands, "run", lambda line: subprocess.CompletedProcess(line, status, "", "it said so"))
    with pytest.raises(SetupError) as refused:
        commands.check_node("n2")
    assert (
        refused.value.check.startswith(check)
        and remedy in refused.value.fix
        and "it said so" in str(refused.value)
    )


@pytest.mark.parametrize("running", [True, False])
def test_the_check_is_told_whether_this_host_runs_under_the_name(
    monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    lines: list[list[str]] = []

    def ids(kind: str, *filters: str) -> dict[str, str]:
        wanted = {"label=sandbox-platform=n2", "status=running", "label=com.docker.compose.service=worker"}
        return {"1": "worker"} if running and {*filters} == wanted else {}

    def run(line: list[str]) -> subprocess.CompletedProcess[str]:
        lines.append(line)
        return subprocess.CompletedProcess(line, 0, "", "")

    monkeypatch.setattr(commands.stack, "ids", ids)
    monkeypatch.setattr(commands, "compose", lambda *words: [*words])
    monkeypatch.setattr(commands, "run", run)
    commands.check_node("n2")
    assert ("--running" in lines[0]) is running


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ("", "COMPOSE_FILE=docker-compose.yml:docker-compose.hosts.yml;"),
        ("docker-compose.yml:docker-compose.tls.yml", "docker-compose.tls.yml:docker-compose.hosts.yml;"),
        ("docker-compose.yml:docker-compose.hosts.yml", "=docker-compose.yml:docker-compose.hosts.yml;"),
    ],
)
def test_publishing_keeps_the_other_files(files: str, told: str) -> None:
    with pytest.raises(SetupError) as refused:
        commands.refuse_unless_publishing({"COMPOSE_FILE": files})
    assert told in refused.value.fix


def test_an_invitation_names_the_host_that_it_is_for(
    env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passwords = "".join(f"SANDBOX_DATABASE_{role}_PASSWORD=x\n" for role in invitation.ROLES)
    env.write_text(f"{PUBLISHED}SANDBOX_DATABASE_BIND=192.0.2.7\n{passwords}")
    (tmp_path / "database_ca").write_text(CA)
    monkeypatch.setattr(secret_files, "FOLDER", tmp_path)
    monkeypatch.setattr(commands.authority, "ensure", lambda address: [])
    monkeypatch.setattr(envfile, "ensure", lambda: None)
    monkeypatch.setenv("NODE", "n2")
    monkeypatch.setenv("TO", str(tmp_path / "n2.json"))
    commands.invite()
    assert invitation.read(tmp_path / "n2.json").node == "n2"
    assert "NODE=" not in capsys.readouterr().out
