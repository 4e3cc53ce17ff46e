"""Defects 26 to 32 of RAGFlow's executor manager (docs/ragflow.md): the service around the runs."""

import base64
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests
from django.utils import timezone
from django_q.models import OrmQ

from api.ragflow import results
from executions import reaper, services
from executions.models import Status
from tests.live import TOKEN, Platform, eventually

needs_docker = pytest.mark.needs_docker


def post_and_keep_the_socket(platform: Platform, code: str) -> socket.socket:
    body = json.dumps({"code_b64": base64.b64encode(code.encode()).decode()}).encode()
    head = (
        f"POST /run HTTP/1.1\r\nHost: localhost\r\nX-Sandbox-Token: {TOKEN}\r\nContent-Type: application/json\r\n"
    )
    client = socket.create_connection(("127.0.0.1", platform.port))
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return client


@needs_docker
def test_26_client_that_hangs_up_ends_its_run(platform, set_columns):
    set_columns("python", wall_time_ms=600_000, cpu_time_ms=600_000)
    client = post_and_keep_the_socket(platform, "def main(canary='hung up'):\n    while True: pass")
    claimed = "SELECT container_id, execution_id FROM executions_sandbox WHERE state = 'claimed'"
    (sandbox,) = eventually(lambda: platform.sql(claimed), "it runs")
    client.close()

    def ended() -> str:
        query = "SELECT status FROM executions_execution WHERE id = %s AND finished_at IS NOT NULL"
        return "".join(row["status"] for row in platform.sql(query, sandbox["execution_id"]))

    assert eventually(ended, "it ended") == "cancelled"
    eventually(lambda: sandbox["container_id"] not in platform.sandboxes(), "its container is gone")


def test_27_waiting_in_the_queue_has_an_end(make_execution):
    waiting = make_execution(status=Status.QUEUED)
    services.enqueue(waiting)
    OrmQ.objects.update(lock=timezone.now() - timedelta(hours=1))
    assert reaper.expire_queued() == 1
    waiting.refresh_from_db()
    answer = results.render(waiting, [])
    assert (answer["status"], answer["exit_code"], answer["detail"]) == (
        "program_runner_error",
        -10,
        "no_available_container",
    )
    assert "no worker was free" in answer["stderr"]


@needs_docker
def test_27_29_fifty_simultaneous_requests_are_all_answered(platform, set_columns):
    """Both languages at once, far more than workers and warm sandboxes; health answers meanwhile."""
    for language in ("python", "nodejs"):
        set_columns(language, wall_time_ms=60_000, cpu_time_ms=60_000)
    programs = {"python": "def main(n): return n * n", "nodejs": "function main({n}) { return n * n; }"}
    with ThreadPoolExecutor(50) as pool:
        runs = [
            pool.submit(platform.run, programs[language], language, {"n": n})
            for n in range(25)
            for language in programs
        ]
        while not all(run.done() for run in runs):
            assert requests.get(f"{platform.url}/healthz", timeout=30).json() == {"status": "ok"}
            time.sleep(0.05)
    answers = [run.result() for run in runs]
    assert [a["result"] and a["result"]["value"] for a in answers] == [n * n for n in range(25) for _ in programs]


@pytest.fixture
def broken_image(platform):
    image = platform.sql("SELECT image FROM runtimes_runtime WHERE slug = 'nodejs'")[0]["image"]
    platform.change_runtime("nodejs", image="sandbox-platform/does-not-exist:latest")
    yield
    platform.change_runtime("nodejs", image=image)


@needs_docker
def test_28_missing_image_is_said_and_hurts_nobody_else(platform, broken_image):
    answer = platform.run("function main() { return 1; }", "nodejs")
    assert (answer["status"], answer["exit_code"], answer["detail"]) == (
        "program_runner_error",
        -3,
        "internal_error",
    )
    assert "does-not-exist" in answer["stderr"]
    assert platform.run("def main(): return 1")["status"] == "success"
    not_ready = eventually(
        lambda: requests.get(f"{platform.url}/readyz", timeout=10).status_code == 503, "not ready"
    )
    assert not_ready


@needs_docker
def test_28_pool_recovers_when_the_image_is_back(platform):
    """Runs after the test above, whose fixture has put the image back; by itself it is only a run."""
    assert platform.run("function main() { return 1; }", "nodejs")["result"]["value"] == 1
    eventually(lambda: requests.get(f"{platform.url}/readyz", timeout=10).status_code == 200, "ready again")


@needs_docker
def test_30_nothing_of_a_program_goes_to_the_logs(platform):
    secrets = {
        name: f"canary-{name}-7f3a9c" for name in ("code", "argument", "stdout", "stderr", "result", "file")
    }
    code = f"""
# {secrets["code"]}
import warnings
def main(a):
    print("{secrets["stdout"]}")
    warnings.warn("{secrets["stderr"]}")
    if a == "fail": raise ValueError("{secrets["stderr"]}")
    return "{secrets["result"]}"
"""
    assert platform.run(code, arguments={"a": secrets["argument"]})["status"] == "success"
    assert platform.run(code, arguments={"a": "fail"})["status"] == "program_error"
    assert platform.run(f"import os # {secrets['code']}")["status"] == "program_runner_error"
    platform.post({"code_b64": "x", "arguments": secrets["argument"]})
    logs = platform.logs()
    assert [name for name, secret in secrets.items() if secret in logs] == []
    assert TOKEN not in logs


@needs_docker
@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def main(): return len(bytearray(50_000_000))"),
        ("nodejs", "function main() { return Buffer.alloc(5e7, 1).length; }"),
    ],
)
def test_31_memory_and_time_are_measured(platform, language: str, code: str):
    answer = platform.run(code, language)
    assert 50_000_000 / 1024 < answer["memory_used_kb"] <= 256 * 1024
    assert answer["time_used_ms"] > 0
    row = platform.last_execution()
    assert row["peak_memory_bytes"] // 1024 == answer["memory_used_kb"]
    assert row["cpu_ms"] is not None


PROVENANCE = (
    "runtime_revision",
    "limits",
    "code_sha256",
    "remote_address",
    "queued_at",
    "finished_at",
    "client_id",
)
OF_THE_SANDBOX = ("image_id", "profile_name", "profile_sha256", "node", "sandbox_id", "started_at", "ended_at")


@needs_docker
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("def main(): return 1", "succeeded"),
        ("def main(): raise ValueError", "failed"),
        ("import posix\ndef main(): posix.kill(posix.getpid(), 9)", "failed"),
        ("def main():\n    while True: pass", "timed_out"),
        ("def main(): return len(bytearray(1000000000))", "out_of_memory"),
    ],
)
def test_every_run_leaves_its_provenance(platform, set_columns, code: str, status: str):
    # Memory takes seconds to fill where other tests use the cores.
    wall_time_ms = 5_000 if status == "timed_out" else 60_000
    set_columns("python", wall_time_ms=wall_time_ms)
    platform.run(code)
    row = platform.last_execution()
    assert (row["status"], row["code"], row["endpoint"], row["mode"]) == (status, code, "ragflow", "function")
    assert [name for name in (*PROVENANCE, *OF_THE_SANDBOX) if not row[name]] == []
    assert row["limits"]["wall_time_ms"] == wall_time_ms


@needs_docker
def test_refused_code_leaves_its_provenance_too(platform):
    platform.run("import os")
    row = platform.last_execution()
    assert (row["status"], row["outcome"], row["code"]) == ("rejected", "code_policy", "import os")
    assert [name for name in PROVENANCE if not row[name]] == []
    assert row["sandbox_id"] == ""
    assert row["policy_violations"] == [{"rule": "python.import", "line": 1, "message": "Import: os"}]
