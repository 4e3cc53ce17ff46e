import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup import stack
from scripts.setup.backups import commands
from scripts.setup.host import SetupError
from scripts.setup.stack import base_url

UP = {"State": "running", "Health": ""}


def test_the_address_follows_the_settings() -> None:
    assert base_url({}) == "http://127.0.0.1:9385"
    everywhere = "0.0.0.0"  # noqa: S104 -- compared, not bound
    settings = {"SANDBOX_EXECUTOR_MANAGER_BIND": everywhere, "SANDBOX_EXECUTOR_MANAGER_PORT": "19385"}
    assert base_url(settings) == "http://127.0.0.1:19385"
    assert base_url({"SANDBOX_EXECUTOR_MANAGER_BIND": "10.1.2.3"}) == "http://10.1.2.3:9385"


def test_a_taken_port_is_told_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "services", dict)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(SetupError, match=f"port {port}"):
            stack.check_port({"SANDBOX_EXECUTOR_MANAGER_PORT": port})
    stack.check_port({"SANDBOX_EXECUTOR_MANAGER_PORT": port})


def test_the_upgrade_refuses_a_database_that_it_cannot_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack.envfile, "settings", lambda: {"DATABASE_URL": "postgresql://db.example/sandbox"})
    monkeypatch.setattr(stack, "stop", lambda: pytest.fail("the stack was stopped"))
    with pytest.raises(SetupError, match="DATABASE_URL"):
        stack.migrate_from_0_1()


def test_our_own_running_web_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "services", lambda: {"web": UP})
    stack.check_port({"SANDBOX_EXECUTOR_MANAGER_PORT": "not even read"})


@pytest.fixture
def fake_compose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Compose is a shell script, which records its words in `calls`. Returns the checkout."""

    def install(script: str) -> Path:
        line = ["sh", "-c", f'echo "$*" >> {tmp_path}/calls; {script}', "sh"]
        monkeypatch.setattr(stack, "ROOT", tmp_path)
        monkeypatch.setattr(stack, "compose", lambda *words: [*line, *words])
        monkeypatch.setattr(stack.envfile, "settings", lambda: {"DATABASE_URL": "", "SANDBOX_NODE": "test"})
        monkeypatch.setattr(stack, "remove_sandboxes", lambda node: [])
        return tmp_path

    return install


def test_an_upgrade_dumps_before_it_changes_anything(fake_compose: Callable[[str], Path]) -> None:
    checkout = fake_compose('case "$*" in *pg_dump*) echo the dump;; esac')
    stack.migrate_from_0_1()
    (backup,) = checkout.glob("backup-0.1-*.dump")
    assert backup.read_text() == "the dump\n"
    assert backup.stat().st_mode & 0o777 == 0o600
    verbs = [line.split()[0] for line in (checkout / "calls").read_text().splitlines()]
    assert verbs == ["down", "up", "exec", "run"]


def test_a_failed_dump_ends_the_upgrade_and_leaves_no_file(fake_compose: Callable[[str], Path]) -> None:
    checkout = fake_compose('case "$*" in *pg_dump*) echo half; echo "no space left" >&2; exit 1;; esac')
    with pytest.raises(SetupError, match="no space left"):
        stack.migrate_from_0_1()
    assert list(checkout.glob("backup-*")) == []
    assert "migrate_from_0_1" not in (checkout / "calls").read_text()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"SANDBOX_HEADS_FILE": "/heads.jsonl"}, "by file; to send them off this machine: SANDBOX_HEADS_MAIL"),
        ({"SANDBOX_HEADS_FILE": ""}, "go nowhere; to send them off this machine"),
        ({"SANDBOX_HEADS_FILE": "/heads.jsonl", "SANDBOX_HEADS_SYSLOG": "udp://log"}, "go by file, syslog"),
    ],
)
def test_summary_offers_a_place_off_this_machine_for_heads(values: dict[str, str], said: str) -> None:
    assert said in stack.heads(values)
    assert ("off this machine" in stack.heads(values)) == ("SANDBOX_HEADS_SYSLOG" not in values)


@pytest.mark.parametrize(
    "files, advised",
    [
        ("", "COMPOSE_FILE=docker-compose.yml:docker-compose.ragflow.yml\n"),
        (
            "docker-compose.yml:docker-compose.tls.yml",
            "COMPOSE_FILE=docker-compose.yml:docker-compose.tls.yml:docker-compose.ragflow.yml\n",
        ),
        ("docker-compose.yml:docker-compose.ragflow.yml", ""),
    ],
)
def test_summary_advises_to_join_ragflow_only_where_it_is_not(files: str, advised: str) -> None:
    said = stack.ragflow_here({"COMPOSE_FILE": files})
    assert advised in said and ("COMPOSE_FILE" in said) == bool(advised)
    assert "docker_ragflow" in said


def test_a_joined_host_waits_for_its_own_services_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack.envfile, "is_joined", lambda: True)
    monkeypatch.setattr(stack.envfile, "has_tls", lambda: False)
    assert stack.wanted_services() == ("worker", "keeper", "egress", "proxy")


@pytest.mark.parametrize("command", [commands.backup, commands.restore, stack.smoke_test])
def test_what_belongs_to_the_first_host_is_refused_on_a_joined_one(
    monkeypatch: pytest.MonkeyPatch, command: Callable[[], None]
) -> None:
    monkeypatch.setattr(stack.envfile, "is_joined", lambda: True)
    with pytest.raises(SetupError, match="run it on the first host|has joined another one"):
        command()
