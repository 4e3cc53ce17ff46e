"""The platform's processes, each with its own role of Postgres: all that they do must still work."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests

from tests.live import ROOT, TOKEN, Platform, eventually, free_port
from tests.pages import fields

pytestmark = pytest.mark.needs_docker
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("roles")
    running = Platform(
        folder,
        roles=True,
        SANDBOX_CALLBACK_NETWORKS="127.0.0.0/8",
        SANDBOX_EGRESS_LISTEN=f"127.0.0.1:{free_port()}",
    )
    try:
        running.start("python")
        running.spawn("callbacks")
        running.spawn("egress")
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def person(platform: Platform) -> requests.Session:
    session = requests.Session()
    address = f"{platform.url}/admin/login/"
    form = {**fields(session.get(address, timeout=30).text), "username": "admin"}
    answer = session.post(address, {**form, "password": "correct horse battery staple"}, timeout=30)
    assert answer.ok and "/login" not in answer.url
    return session


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any]]]:
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()


def test_each_process_has_its_role(platform: Platform) -> None:
    found = "SELECT DISTINCT usename FROM pg_stat_activity WHERE usename LIKE 'sandbox\\_%%' ORDER BY 1"
    expected = {f"sandbox_{name}" for name in ("web", "worker", "keeper", "callbacks")}
    eventually(lambda: expected <= {row["usename"] for row in platform.sql(found)}, "sessions of four roles")


def test_a_run_calls_back(platform: Platform, receiver: tuple[str, list[Any]]) -> None:
    url, received = receiver
    body = {
        "runtime": "python",
        "code": "print(1); open('artifacts/a', 'w').write('x')",
        "callback_url": url,
        "wait": 60,
    }
    answer = requests.post(f"{platform.url}/api/v1/executions", json=body, headers=AUTHORIZED, timeout=90)
    assert answer.ok, answer.text
    assert answer.json()["status"] == "succeeded", answer.text
    (message,) = eventually(lambda: received, "a callback")
    assert message["data"]["stdout"] == "1\n"
    eventually(lambda: platform.sql("SELECT 1 FROM executions_delivery WHERE status = 'delivered'"), "its record")


def test_ragflow_is_served(platform: Platform) -> None:
    assert platform.run("def main(): return 7")["result"]["value"] == 7


def test_history_is_sealed_verified_and_purged(platform: Platform) -> None:
    platform.run("def main(): return 1")
    platform.manage("seal", service="keeper")
    assert "All rows match" in platform.manage("verify_audit", service="worker")
    platform.sql("INSERT INTO audit_retentionpolicy (redact, keep_code_days) VALUES (false, 0)")
    platform.manage("purge", service="keeper")
    platform.sql("DELETE FROM audit_retentionpolicy")


def test_every_page_of_the_menu_is_shown(platform: Platform, person: requests.Session) -> None:
    start = person.get(f"{platform.url}/admin/", timeout=30)
    pages = set(re.findall(r'href="(/admin/[^"?#]*)"', start.text)) - {"/admin/logout/"}
    assert len(pages) > 15
    shown = {page: person.get(f"{platform.url}{page}", timeout=30).status_code for page in sorted(pages)}
    assert {page for page, status in shown.items() if status != 200} == set()


def test_a_runtime_is_saved_and_the_change_recorded(platform: Platform, person: requests.Session) -> None:
    (runtime,) = platform.sql("SELECT id FROM runtimes_runtime WHERE slug = 'python'")
    address = f"{platform.url}/admin/runtimes/runtime/{runtime['id']}/change/"
    form = {**fields(person.get(address, timeout=30).text), "name": "Renamed"}
    answer = person.post(address, form, headers={"Referer": address}, timeout=30)
    assert answer.status_code == 200
    (last,) = platform.sql("SELECT name, pgh_context FROM audit_runtimeevent ORDER BY pgh_id DESC LIMIT 1")
    assert (last["name"], last["pgh_context"]["database"]["role"]) == ("Renamed", "sandbox_web")


def test_history_is_exported(platform: Platform) -> None:
    answer = requests.get(f"{platform.url}/api/v1/executions/export?format=jsonl", headers=AUTHORIZED, timeout=60)
    assert answer.status_code == 200
    assert answer.text.count("\n") >= 1


def test_the_worker_may_examine_the_platform(platform: Platform) -> None:
    command = [sys.executable, "manage.py", "doctor"]
    environment = platform.environment_of("worker")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr


def test_nothing_was_refused(platform: Platform) -> None:
    """After all the tests above: no process has met a table that it may not touch."""
    logs = [line for line in platform.logs().splitlines() if "permission denied" in line or "row-level" in line]
    server = platform.postgres.log.read_text(errors="replace").splitlines()
    assert not logs + [line for line in server if "permission denied" in line or "row-level security" in line]
