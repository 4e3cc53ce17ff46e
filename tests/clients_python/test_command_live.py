"""The command `sandbox` against a real platform, in pipes."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients_python.conftest import Command, environment
from tests.live import TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker
NEVER_ENDS = "import time\nwhile True:\n    print('on', flush=True)\n    time.sleep(0.2)"
LAST_STATUS = "SELECT status FROM executions_execution ORDER BY id DESC LIMIT 1"


def test_a_program_runs_as_if_it_ran_here(sandbox_command: Command, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import sys, os\nprint(sys.argv[1:], sys.stdin.read(), os.environ['A'])\nprint('bad', file=sys.stderr)\nexit(7)"
    )
    done = sandbox_command("run", "--env", "A=a", "main.py", "--", "--json", "x", stdin="in")
    assert (done.returncode, done.stdout) == (7, "['--json', 'x'] in a\n"), done.stderr
    assert done.stderr == "bad\n"


def test_the_runtime_follows_from_the_name(sandbox_command: Command, tmp_path: Path) -> None:
    (tmp_path / "hello.js").write_text("console.log(1 + 1)")
    assert sandbox_command("run", "hello.js").stdout == "2\n"


def test_a_time_limit_is_status_124(sandbox_command: Command) -> None:
    done = sandbox_command("run", "--timeout", "1", "-c", "while True: pass")
    assert done.returncode == 124
    assert done.stderr.startswith("sandbox: timed_out: ")


def test_files_go_and_artifacts_come(sandbox_command: Command, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in.txt").write_text("content")
    code = "open('artifacts/out.txt', 'w').write(open('data/in.txt').read() + open('b').read())"
    done = sandbox_command("run", "-f", "data", "-f", "b=data/in.txt", "-o", "results", "-c", code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "out.txt").read_text() == "contentcontent"


def test_json_is_the_ended_run(sandbox_command: Command) -> None:
    done = sandbox_command("run", "--json", "-c", "print(1)")
    assert json.loads(done.stdout)["stdout"] == "1\n"


def test_a_refusal_is_status_125_with_the_remedy(sandbox_command: Command) -> None:
    done = sandbox_command("run", "-r", "cobol", "-c", "1")
    assert done.returncode == 125
    assert "GET /api/v1/runtimes lists them." in done.stderr


def test_history_is_listed_shown_and_read(sandbox_command: Command) -> None:
    name = sandbox_command("run", "--detach", "-l", "walk=1", "-c", "print('seen')").stdout.strip()
    assert sandbox_command("logs", "-f", name).stdout == "seen\n"
    assert sandbox_command("runs", "--label", "walk=1").stdout.startswith(f"{name}\t")
    assert f"id                 {name}\n" in sandbox_command("show", name).stdout
    assert "python\t" in sandbox_command("runtimes").stdout
    done = sandbox_command("cancel", name)
    assert (done.returncode, "already ended" in done.stderr) == (125, True)


def test_ctrl_c_and_a_closed_pipe_cancel_the_run(platform: Platform, tmp_path: Path) -> None:
    told = environment(tmp_path, SANDBOX_URL=platform.url, SANDBOX_TOKEN=TOKEN)
    # Whoever starts the tests in the background has them, and what they start, ignore Ctrl-C.
    words = [
        "env",
        "--default-signal=INT",
        sys.executable,
        "-m",
        "sandbox_client.cli",
        "run",
        "-n",
        "-c",
        NEVER_ENDS,
    ]

    def started() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(words, env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout
        assert os.read(process.stdout.fileno(), 100).startswith(b"on\n")  # live: it never ends by itself
        return process

    for end, status in ((lambda it: it.send_signal(signal.SIGINT), 130), (lambda it: it.stdout.close(), 141)):
        process = started()
        end(process)
        assert process.wait(30) == status, process.stderr and process.stderr.read()
        eventually(lambda: platform.sql(LAST_STATUS)[0]["status"] == "cancelled", "the run is cancelled", 20)


def test_login_keeps_the_token_where_only_its_owner_reads(
    sandbox_command: Command, tmp_path: Path, platform: Platform
) -> None:
    refused = sandbox_command("login", platform.url, stdin="wrong\n", SANDBOX_TOKEN="")
    assert refused.returncode == 125
    done = sandbox_command("login", platform.url, stdin=f"{TOKEN}\n", SANDBOX_TOKEN="")
    assert done.returncode == 0, done.stderr
    kept = tmp_path / "settings" / "tokens.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert sandbox_command("run", "-c", "print(1)", SANDBOX_TOKEN="", SANDBOX_URL="").stdout == "1\n"
    assert sandbox_command("logout", SANDBOX_TOKEN="").returncode == 0
    assert TOKEN not in kept.read_text()


def test_login_prefers_a_keyring(sandbox_command: Command, tmp_path: Path, platform: Platform) -> None:
    (tmp_path / "ring.py").write_text(
        "import json, pathlib\nfrom keyring.backend import KeyringBackend\n"
        "AT = pathlib.Path(__file__).with_name('ring')\n"
        "class Ring(KeyringBackend):\n    priority = 1\n"
        "    def get_password(self, s, u): return json.loads(AT.read_text()).get(u) if AT.exists() else None\n"
        "    def set_password(self, s, u, p): AT.write_text(json.dumps({u: p}))\n"
        "    def delete_password(self, s, u): AT.unlink()\n"
    )
    ours = {"PYTHON_KEYRING_BACKEND": "ring.Ring", "SANDBOX_TOKEN": ""}
    path = os.pathsep.join([environment(tmp_path)["PYTHONPATH"], str(tmp_path)])
    done = sandbox_command("login", platform.url, stdin=TOKEN, PYTHONPATH=path, **ours)
    assert "The token is in the keyring." in done.stderr
    assert not (tmp_path / "settings" / "tokens.json").exists()
    assert sandbox_command("run", "-c", "print(1)", PYTHONPATH=path, **ours).stdout == "1\n"
