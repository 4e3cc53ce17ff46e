"""Heads of seals leave the machine, by each destination, until they have arrived."""

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from audit import heads, sealing
from audit.jobs import run_due
from audit.models import HeadDestination, Seal, SealKey
from audit.verification.keys import KeyChain
from tests.tasks import queued


@pytest.fixture
def file(settings: Settings, tmp_path: Path) -> Path:
    settings.SANDBOX_HEADS_FILE = str(tmp_path / "heads.jsonl")
    return tmp_path / "heads.jsonl"


def numbers(file: Path) -> list[int]:
    return [json.loads(line)["sequence"] for line in file.read_text().splitlines()]


# --- The file ---


def test_file_gets_the_head_with_the_hourly_seal(db: None, file: Path) -> None:
    run_due()
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["hash"] == Seal.objects.get().hash


def test_file_gets_the_head_with_a_seal_by_command(db: None, file: Path) -> None:
    call_command("seal")
    assert numbers(file) == [1]


def test_file_gets_each_head_once(db: None, file: Path) -> None:
    for _ in range(3):
        sealing.seal()
        heads.send_due()
        heads.send_due()
    assert numbers(file) == [1, 2, 3]


def test_a_head_proves_itself(db: None, file: Path) -> None:
    run_due()
    head = json.loads(file.read_text())
    assert KeyChain([SealKey.objects.get().fingerprint]).signed(*heads.signed_by(head))
    assert not KeyChain().signed(*heads.signed_by(head | {"hash": "0" * 64}))


def test_the_database_cannot_make_the_file_skip_a_head(db: None, file: Path) -> None:
    run_due()
    HeadDestination.objects.update(delivered=1000)
    sealing.seal()
    heads.send_due()
    assert numbers(file) == [1, 2]


def test_a_line_that_a_crash_cut_short_is_no_obstacle(db: None, file: Path) -> None:
    run_due()
    with file.open("a") as out:
        out.write('{"sequence": 2, "has')
    sealing.seal()
    heads.send_due()
    assert json.loads(file.read_text().splitlines()[-1])["sequence"] == 2


def test_a_failure_is_recorded_and_repaired(db: None, settings: Settings, tmp_path: Path) -> None:
    settings.SANDBOX_HEADS_FILE = str(tmp_path / "missing" / "heads.jsonl")
    run_due()
    row = HeadDestination.objects.get()
    assert (row.attempts, "No such file" in row.error) == (1, True)
    (tmp_path / "missing").mkdir()
    heads.send_due()
    row.refresh_from_db()
    assert (row.attempts, row.error, row.delivered) == (0, "", 1)


# --- The others, which the callbacks process sends ---


def deliver(name: str) -> HeadDestination:
    heads.deliver(name)
    return HeadDestination.objects.get(name=name)


def test_a_destination_on_the_network_is_queued_once(db: None, settings: Settings) -> None:
    settings.SANDBOX_HEADS_MAIL = ["auditor@example.com"]
    run_due()
    heads.send_due()
    assert queued() == [(heads.DELIVER, ("mail",))]


def test_a_task_that_was_lost_is_queued_again(db: None, settings: Settings) -> None:
    settings.SANDBOX_HEADS_MAIL = ["auditor@example.com"]
    run_due()
    HeadDestination.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    heads.send_due()
    assert OrmQ.objects.count() == 2


def test_nothing_new_is_not_queued(db: None, settings: Settings) -> None:
    settings.SANDBOX_HEADS_MAIL = ["auditor@example.com"]
    run_due()
    deliver("mail")
    OrmQ.objects.all().delete()
    heads.send_due()
    assert not OrmQ.objects.exists()


def test_a_new_destination_begins_with_the_newest_seal(db: None, settings: Settings) -> None:
    settings.SANDBOX_HEADS_MAIL = ["auditor@example.com"]
    for _ in range(3):
        (seal,) = sealing.seal()
    assert deliver("mail").delivered == 3
    assert [message.body.count('"sequence"') for message in mail.outbox] == [1]
    assert seal.hash in mail.outbox[0].body


def test_mail_names_node_and_head(db: None, settings: Settings) -> None:
    settings.SANDBOX_HEADS_MAIL = ["auditor@example.com", "other@example.com"]
    settings.SANDBOX_NODE = "node-7"
    (seal,) = sealing.seal()
    deliver("mail")
    (message,) = mail.outbox
    assert message.to == ["auditor@example.com", "other@example.com"]
    assert message.subject == f"node-7: seal 1:{seal.hash[:22]}…"


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any]]]:
    """A server on this machine, and what it received; it refuses the first request."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((dict(self.headers), body))
            self.send_response(503 if len(received) == 1 else 204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/heads", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_webhook_is_signed_and_repeated_until_it_arrives(
    db: None, settings: Settings, receiver: tuple[str, list[Any]]
) -> None:
    settings.SANDBOX_HEADS_WEBHOOK, received = receiver
    settings.SANDBOX_CALLBACK_NETWORKS = [ip_network("127.0.0.1/32")]
    (seal,) = sealing.seal()
    failed = deliver("webhook")
    assert (failed.attempts, failed.error) == (1, "Not a success status (2xx). Status 503.")
    assert deliver("webhook").delivered == 1
    headers, body = received[1]
    assert json.loads(body)["heads"][0]["hash"] == seal.hash
    assert headers["webhook-id"] == "seal_1_1"
    assert headers["webhook-signature"].startswith("v1,")


def test_webhook_is_held_to_the_rules_of_callbacks(
    db: None, settings: Settings, receiver: tuple[str, list[Any]]
) -> None:
    settings.SANDBOX_HEADS_WEBHOOK, received = receiver
    sealing.seal()
    assert "SANDBOX_CALLBACK_NETWORKS" in deliver("webhook").error
    assert received == []


def test_command_prints_the_secret_of_the_webhook(db: None) -> None:
    out = StringIO()
    call_command("heads", webhook_secret=True, stdout=out)
    assert out.getvalue().startswith("whsec_")


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_syslog_gets_a_line(db: None, settings: Settings, kind: str) -> None:
    (seal,) = sealing.seal()
    with socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        if kind == "tcp":
            server.listen()
        settings.SANDBOX_HEADS_SYSLOG = f"{kind}://127.0.0.1:{server.getsockname()[1]}"
        assert deliver("syslog").delivered == 1
        if kind == "tcp":
            session, _ = server.accept()
            with session, session.makefile("rb") as lines:
                line = lines.readline()
        else:
            line = server.recv(4096)
    assert line.startswith(b"<38>sandbox-platform: seal {")
    assert seal.hash.encode() in line


def test_syslog_of_an_unknown_kind_is_a_failure(db: None, settings: Settings) -> None:
    settings.SANDBOX_HEADS_SYSLOG = "/dev/log"
    sealing.seal()
    assert "must be udp://" in deliver("syslog").error


def test_pauses_grow_up_to_an_hour(db: None, settings: Settings) -> None:
    settings.SANDBOX_HEADS_SYSLOG = "/dev/log"
    sealing.seal()
    pauses = []
    for _ in range(8):
        row = deliver("syslog")
        assert row.next_attempt_at
        pauses.append(round((row.next_attempt_at - timezone.now()).total_seconds() / 60))
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
