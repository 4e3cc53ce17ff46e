"""A certificate that was made anew reaches the running Postgres, and the doctor says when it did not."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup import envfile, stack
from scripts.setup.hosts import authority

Shown = Callable[[bytes], list[list[str]]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shown:
    """Let Postgres run and show this certificate; return the Compose commands that follow."""
    authority.ensure("192.0.2.7", tmp_path)
    lines: list[list[str]] = []
    published = {"COMPOSE_FILE": f"docker-compose.yml:{envfile.HOSTS_FILE}", "SANDBOX_DATABASE_BIND": "192.0.2.7"}
    up = {"State": "running", "Health": "healthy"}
    real, complain = authority.is_served, authority.complaint
    monkeypatch.setattr(envfile, "settings", lambda: published)
    monkeypatch.setattr(stack, "services", lambda: {"postgres": up, "worker": up})
    monkeypatch.setattr(stack, "_compose", lambda *words: lines.append([*words]))
    monkeypatch.setattr(stack, "in_front", lambda *words: 0)
    monkeypatch.setattr(authority, "is_served", lambda served, folder=tmp_path: real(served, folder))
    monkeypatch.setattr(authority, "complaint", lambda served: complain(served, tmp_path))

    def show(served: bytes) -> list[list[str]]:
        monkeypatch.setattr(stack.reaching, "served", lambda address, port: served)
        return lines

    return show


def test_a_postgres_with_another_certificate_is_recreated_alone(shown: Shown) -> None:
    lines = shown(b"of before")
    stack.renew_served_certificate()
    assert len(lines) == 1
    assert {"--force-recreate", "--no-deps", "--wait"} < {*lines[0]} and lines[0][-1] == "postgres"


def test_a_postgres_with_the_present_one_runs_on(shown: Shown, tmp_path: Path) -> None:
    lines = shown(ssl.PEM_cert_to_DER_cert((tmp_path / authority.CERTIFICATE).read_text()))
    stack.renew_served_certificate()
    assert not lines


def test_the_doctor_warns_of_another_one(shown: Shown, capfd: pytest.CaptureFixture[str]) -> None:
    shown(b"of before")
    stack.doctor()
    said = capfd.readouterr().out
    assert said.startswith("warning  database TLS") and "another one" in said and "make start" in said


def test_a_start_renews_what_is_shown_before_the_services_start(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(b"of before")
    monkeypatch.setattr(stack, "publish_database", lambda address: lines.append(["made for", address]))
    monkeypatch.setattr(stack, "choose_engine", lambda: None)
    monkeypatch.setattr(stack, "check_port", lambda settings: None)
    monkeypatch.setattr(stack.certificates, "write_build_config", lambda group: None)
    monkeypatch.setattr(stack.images, "built_runtimes", list)
    monkeypatch.setattr(stack, "compose", lambda *words, told: [*words])
    monkeypatch.setattr(stack.starting, "up", lines.append)
    monkeypatch.setattr(stack.starting, "wait_healthy", lambda wanted, look: None)
    stack.start()
    assert [lines[0], lines[1][-1], lines[2][0]] == [["made for", "192.0.2.7"], "postgres", "up"]


def test_postgres_alone_finds_its_certificate(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a restore on a new machine, where no start has made it."""
    lines = shown(b"")
    monkeypatch.setattr(stack, "publish_database", lambda address: lines.append(["made for", address]))
    stack.start_postgres()
    assert lines[0] == ["made for", "192.0.2.7"] and lines[1][-1] == "postgres"
