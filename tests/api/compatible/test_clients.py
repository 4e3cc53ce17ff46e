"""Client libraries of the formats against the running platform; docs/doors.md has a row for each."""

import json
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox_platform.kit.formats import FORMATS
from scripts.setup.host import ROOT
from scripts.setup.python_env import FORMAT_CLIENTS, synchronise
from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker
ENVIRONMENT = ROOT / ".setup/format-clients"
PROGRAMS = Path(__file__).parent / "clients"
FUSION_AT_ONCE, DIFY_AT_ONCE = 64, 100
RESULT = "<<RESULT>>"
Drive = Callable[..., Any]


@pytest.fixture(scope="module")
def speaking(platform: Platform) -> Iterator[Platform]:
    """The platform, whose client may call in every format."""
    names = [format.name for format in FORMATS]
    platform.sql("UPDATE executions_client SET formats = %s", names)
    yield platform
    platform.sql("UPDATE executions_client SET formats = '{}'")


@pytest.fixture(scope="module")
def drive(speaking: Platform) -> Drive:
    """What a program says that uses the library."""
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    synchronise(ENVIRONMENT, FORMAT_CLIENTS)

    def driven(program: str, *more: str) -> Any:
        command = [ENVIRONMENT / "bin/python", PROGRAMS / f"{program}.py", speaking.url, TOKEN, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return driven


def test_official_sdk_of_judge0(drive: Drive) -> None:
    said = drive("judge0_sdk")
    assert said["stdout"] == "!diaper\n"
    assert said["statuses"] == ["Accepted", "Accepted", "Wrong Answer", "Time Limit Exceeded"]
    assert said["is_timed"] and said["runs_python"]
    assert (said["version"], said["batch"]) == ("1.14.0", 20)


def test_asynchronous_client_of_judge0(drive: Drive) -> None:
    said = drive("judge0_async")
    assert (said["about"], said["status"]) == ("1.14.0", "Runtime Error (NZEC)")
    assert "ValueError: ü" in said["stderr"]
    assert "compiler_options" in said["refused"]


def test_libraries_for_piston(drive: Drive) -> None:
    said = drive("piston")
    library = said["aiopyston"]
    assert (library["python"], library["output"], library["code"]) == ("python", "in 1\n", 3)
    assert "python-2.x runtime is unknown" in library["refused"]
    assert library["languages"] == said["pistonapi"]["languages"]
    assert "application/x-www-form-urlencoded" in said["pistonapi"]["refused"]


def test_client_of_sandbox_fusion(drive: Drive) -> None:
    said = drive("fusion")
    assert said["copied"] == "abab"
    assert said["summaries"] == ["yes", "no", "slow"]
    assert said["cells"] == [["", []], ["6\n", ["42"]], ["", []], ["6\n", []]]
    assert said["error"] == "ZeroDivisionError"


def test_client_of_sandbox_fusion_many_at_once(drive: Drive) -> None:
    assert drive("fusion", str(FUSION_AT_ONCE)) == [str(number + 1) for number in range(FUSION_AT_ONCE)]


def dify(platform: Platform, function: str, inputs: dict[str, Any]) -> Any:
    """The result of a code node: its function in a program that prints it between two marks, as Dify has it."""
    encoded = b64encode(json.dumps(inputs).encode()).decode()
    program = (
        f"{function}\nimport base64, json\n"
        f"print('{RESULT}' + json.dumps(main(**json.loads(base64.b64decode('{encoded}')))) + '{RESULT}')"
    )
    body = {"language": "python3", "code": program, "preload": "", "enable_network": True}
    headers = {"X-Api-Key": TOKEN}
    answer = requests.post(f"{platform.url}/v1/sandbox/run", json=body, headers=headers, timeout=300)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["code"], said["data"]["error"]) == (0, ""), said
    return json.loads(said["data"]["stdout"].split(RESULT)[1])


def test_code_node_of_dify(speaking: Platform) -> None:
    function = "def main(a, b):\n    return {'sum': a + b, 'text': 'ü'}"
    assert dify(speaking, function, {"a": 1, "b": 2}) == {"sum": 3, "text": "ü"}


def test_code_nodes_of_dify_many_at_once(speaking: Platform) -> None:
    all_here = threading.Barrier(DIFY_AT_ONCE)

    def call(number: int) -> Any:
        all_here.wait(60)
        return dify(speaking, "def main(n):\n    return {'n': n}", {"n": number})["n"]

    with ThreadPoolExecutor(DIFY_AT_ONCE) as threads:
        assert list(threads.map(call, range(DIFY_AT_ONCE))) == list(range(DIFY_AT_ONCE))


class LibreChat:
    """What LibreChat sends in a conversation, with the headers that it has."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.headers.update({"User-Agent": "LibreChat/1.0", "X-API-Key": TOKEN})

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """The file as a later run names it."""
        files = {"file": (name, content)}
        answer = self.http.post(f"{self.url}/upload", data={"entity_id": "agent_1"}, files=files, timeout=60)
        said = answer.json()
        assert (answer.status_code, said["message"]) == (200, "success"), said
        (stored,) = said["files"]
        return {"id": stored["fileId"], "session_id": said["session_id"], "name": stored["filename"]}

    def run(self, code: str, *files: dict[str, Any], lang: str = "py") -> dict[str, Any]:
        body = {"lang": lang, "code": code, "user_id": "1", "files": list(files)}
        answer = self.http.post(f"{self.url}/exec", json=body, timeout=120)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def get(self, path: str) -> requests.Response:
        return self.http.get(f"{self.url}/{path}", timeout=60)


def test_conversation_of_librechat(speaking: Platform) -> None:
    chat = LibreChat(speaking.url)
    table = chat.upload("table.csv", b"a,b\n1,2\n")
    drawn = chat.run(
        "import csv\n"
        "rows = list(csv.DictReader(open('/mnt/data/table.csv')))\n"
        "print(rows[0]['b'])\n"
        "open('/mnt/data/sum.txt', 'w').write('3')",
        table,
    )
    assert (drawn["stdout"], drawn["stderr"]) == ("2\n", "")
    (left,) = drawn["files"]
    assert left["name"] == "sum.txt"
    downloaded = chat.get(f"download/{left['session_id']}/{left['id']}")
    assert (downloaded.content, downloaded.headers["Content-Type"]) == (b"3", "text/plain; charset=utf-8")
    # The next turn has both files, and changes one of them.
    again = chat.run(
        "print(open('/mnt/data/sum.txt').read())\nopen('table.csv', 'a').write('3,4\\n')", table, left
    )
    assert (again["stdout"], [file["name"] for file in again["files"]]) == ("3\n", ["table.csv"])
    (listed,) = chat.get(f"files/{again['session_id']}?detail=full").json()
    assert listed["name"] == f"{again['session_id']}/{again['files'][0]['id']}.csv"
    assert listed["metadata"]["original-filename"] == "table.csv"


def test_program_of_librechat_that_fails_or_takes_too_long(speaking: Platform) -> None:
    chat = LibreChat(speaking.url)
    assert "ReferenceError" in chat.run("nothing()", lang="js")["stderr"]
    slow = chat.run("print(1, flush=True)\nwhile True: pass")
    assert (slow["stdout"], slow["status"], slow["signal"]) == ("1\n", "TO", "SIGKILL")
    assert slow["stderr"]
