"""The execution API on real sandboxes: what the database alone cannot tell."""

import json
import os
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from runtimes.models import MIB
from tests.live import ROOT, TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker
SLEEP = "import time\nprint('on', flush=True)\ntime.sleep(60)"
ITS_OUTPUT = "SELECT 1 FROM executions_outputchunk WHERE execution_id = %s"


class Api:
    def __init__(self, platform: Platform) -> None:
        self.url = f"{platform.url}/api/v1"
        self.headers = {"Authorization": f"Bearer {TOKEN}"}

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, headers=self.headers, timeout=90)

    def post(self, path: str, **body: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, headers=self.headers, timeout=90)

    def run(self, **body: Any) -> dict[str, Any]:
        """A finished execution."""
        answer = self.post("/executions", **{"runtime": "python", "wait": 60} | body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def start(self, **body: Any) -> str:
        """The id of one that is running."""
        execution_id = self.post("/executions", **{"runtime": "python"} | body).json()["id"]
        eventually(lambda: self.row(execution_id)["status"] == "running", "it runs")
        return str(execution_id)

    def row(self, execution_id: str) -> dict[str, Any]:
        return dict(self.get(f"/executions/{execution_id}").json())


@pytest.fixture
def api(platform: Platform) -> Api:
    return Api(platform)


def test_script_gets_all_its_input(api: Api) -> None:
    program = """
import os, sys, json
from lib.words import WORD
data = open("data/in.bin", "rb").read()
print(json.dumps([WORD, list(data), sys.argv[1:], sys.stdin.read(), os.environ["GIVEN"], os.getcwd(), __name__]))
"""
    ran = api.run(
        entry="app/main.py",
        files=[
            {"path": "app/main.py", "content": program},
            {"path": "app/lib/words.py", "content": "WORD = 'w'"},
            {"path": "data/in.bin", "content_base64": "/wA="},
        ],
        argv=["-v"],
        stdin="in",
        environment={"GIVEN": "g"},
    )
    assert ran["stdout"] == '["w", [255, 0], ["-v"], "in", "g", "/workspace", "__main__"]\n', ran["stderr"]


def test_function_of_nodejs_requires_the_files_beside_it(api: Api) -> None:
    ran = api.run(
        runtime="nodejs",
        mode="function",
        code="const { word } = require('./lib/words'); function main({ n }) { return word.repeat(n); }",
        files=[{"path": "lib/words.js", "content": "exports.word = 'w'"}],
        arguments={"n": 3},
    )
    assert ran["result"] == "www", ran["stderr"]


LIMITED: dict[str, tuple[str, dict[str, int], str]] = {
    "wall time": ("import time; time.sleep(30)", {"wall_time_ms": 300}, "wall_time"),
    "CPU time": ("while True: pass", {"cpu_time_ms": 300}, "cpu_time"),
    "memory": ("x = b'x' * 150_000_000; print(len(x))", {"memory_bytes": 96 * MIB}, "memory"),
}


@pytest.mark.parametrize(("code", "limits", "outcome"), LIMITED.values(), ids=LIMITED)
def test_lower_limit_is_enforced(api: Api, code: str, limits: dict[str, int], outcome: str) -> None:
    ran = api.run(code=code, limits=limits)
    assert ran["outcome"] == outcome, ran
    assert ran["limits"] | limits == ran["limits"]


def test_lower_limits_of_output_and_artifacts_are_enforced(api: Api) -> None:
    code = "print('x' * 100)\nfor n in 'ab': open(f'artifacts/{n}', 'w').write(n)"
    ran = api.run(code=code, limits={"output_bytes": 10, "artifact_count": 1})
    assert (ran["stdout"], ran["stdout_truncated"], ran["artifact_count"]) == ("x" * 10, True, 1)


def test_running_execution_is_killed(api: Api, platform: Platform) -> None:
    execution_id = api.start(code=SLEEP)
    eventually(lambda: platform.sql(ITS_OUTPUT, execution_id), "it has printed")
    assert api.post(f"/executions/{execution_id}/cancel").status_code == 202
    row = api.get(f"/executions/{execution_id}?wait=60").json()
    assert (row["status"], row["outcome"], row["stdout"]) == ("cancelled", "cancel_requested", "on\n")


def test_caller_who_hangs_up_cancels_nothing(api: Api) -> None:
    labels = {"test": "hang-up"}
    body = {"runtime": "python", "code": "import time; time.sleep(2)", "wait": 60, "labels": labels}
    address = urlsplit(api.url)
    caller = HTTPConnection(address.netloc)
    caller.request(
        "POST",
        f"{address.path}/executions",
        json.dumps(body),
        api.headers | {"Content-Type": "application/json"},
    )
    listed = "/executions?label=test:hang-up"
    (row,) = eventually(lambda: api.get(listed).json()["results"], "it is accepted")
    caller.close()
    assert api.get(f"/executions/{row['id']}?wait=60").json()["status"] == "succeeded"


def test_batch_is_followed_as_one(api: Api) -> None:
    executions = [{"runtime": "python", "code": f"print({n})"} for n in range(4)]
    executions.append({"runtime": "python", "code": "1/0"})
    batch = api.post("/batches", executions=executions).json()
    done = api.get(f"/batches/{batch['id']}?wait=60").json()
    assert done["counts"] == {"succeeded": 4, "failed": 1}


def test_repeat_of_a_waiting_request_waits_for_the_same_run(api: Api) -> None:
    headers = api.headers | {"Idempotency-Key": "live-1"}
    body = {"runtime": "python", "code": "import time; time.sleep(1); print('once')", "wait": 60}
    answers: list[dict[str, Any]] = []

    def call() -> None:
        answers.append(requests.post(f"{api.url}/executions", json=body, headers=headers, timeout=90).json())

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(a["id"], a["stdout"]) for a in answers} == {(answers[0]["id"], "once\n")}


def test_rerun_as_then_has_image_profile_and_limits_of_then(api: Api, platform: Platform) -> None:
    files = [{"path": "word.txt", "content": "w"}]
    first = api.run(code="print(open('word.txt').read())", files=files, limits={"wall_time_ms": 3000})
    platform.change_runtime("python", image="sandbox-platform/runtime-nodejs:latest")
    try:
        answer = api.post(f"/executions/{first['id']}/rerun", configuration="then", wait=60)
    finally:
        original = os.environ.get("SANDBOX_BASE_PYTHON_IMAGE", "sandbox-platform/runtime-python:latest")
        platform.change_runtime("python", image=original)
    again = answer.json()["execution"]
    assert (again["stdout"], again["status"]) == ("w\n", "succeeded"), again
    provenance = ("image_id", "runtime_revision", "profile_sha256", "limits")
    assert [again[name] for name in provenance] == [first[name] for name in provenance]
    changed = {difference["field"] for difference in answer.json()["differences"]}
    assert {"image_id", "runtime_revision"} <= changed


def test_rerun_as_now_tells_what_changed(api: Api, platform: Platform) -> None:
    first = api.run(code="print(1)")
    platform.change_runtime("python", wall_time_ms=4000)
    try:
        answer = api.post(f"/executions/{first['id']}/rerun", configuration="now", wait=60).json()
    finally:
        platform.change_runtime("python", wall_time_ms=20_000)
    changes = {d["field"]: (d["then"], d["now"]) for d in answer["differences"]}
    assert changes["limits.wall_time_ms"] == (20_000, 4000)
    assert answer["execution"]["limits"]["wall_time_ms"] == 4000


def test_rerun_on_an_image_that_is_gone_is_a_conflict(api: Api, platform: Platform) -> None:
    first = api.run(code="print(1)")
    # History cannot be changed, but by the owner of the table.
    platform.sql("ALTER TABLE executions_execution DISABLE TRIGGER USER")
    gone = "sha256:" + "0" * 64
    platform.sql("UPDATE executions_execution SET image_id = %s WHERE id = %s", gone, first["id"])
    platform.sql("ALTER TABLE executions_execution ENABLE TRIGGER USER")
    answer = api.post(f"/executions/{first['id']}/rerun", configuration="then")
    assert answer.status_code == 409
    assert gone in answer.json()["detail"]


def test_example_runs_a_program_and_saves_its_artifacts(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import words\nprint(words.W)\nopen('artifacts/out.txt', 'w').write('kept')")
    (tmp_path / "words.py").write_text("W = 'hello'")
    done = subprocess.run(
        [sys.executable, ROOT / "examples/run.py", "main.py", "words.py"],
        cwd=tmp_path, env=os.environ | {"SANDBOX_URL": platform.url, "SANDBOX_TOKEN": TOKEN},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert (tmp_path / "out.txt").read_text() == "kept"
