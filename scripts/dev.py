"""`make dev`: run web, worker, keeper, callbacks and egress as plain processes.

The database is an embedded Postgres, unless DATABASE_URL names another one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO

from scripts import embedded_postgres
from scripts.setup import certificates, envfile, images, stack
from scripts.setup.host import ROOT

DATA = ROOT / ".dev" / "postgres"
GRACE_SECONDS = 20


def environment() -> dict[str, str]:
    """Return the processes' environment: the real one over `.env`, with values for a node beside the stack."""
    values = {name: value for name, value in envfile.read().items() if value}
    values.setdefault("DJANGO_SECRET_KEY", "development-only")
    values["DJANGO_DEBUG"] = "True"
    # A person reads it.
    values["SANDBOX_LOG_FORMAT"] = "line"
    # The stack's directory belongs to another user.
    values["SANDBOX_EGRESS_DIR"] = str(ROOT / ".dev" / "doors")
    # A key and a file of heads of its own, beside the database.
    values["SANDBOX_SEAL_KEY_FILE"] = str(ROOT / ".dev" / "seal" / "seal.key")
    values["SANDBOX_HEADS_FILE"] = str(ROOT / ".dev" / "heads.jsonl")
    # Use a separate node name: beside a running stack, each keeper must see only its own sandboxes.
    values["SANDBOX_NODE"] = stack.node() + stack.DEV_SUFFIX
    env = {**values, "SANDBOX_LISTEN": "127.0.0.1", **os.environ, "PYTHONUNBUFFERED": "1"}
    env["SANDBOX_BUILT_RUNTIMES"] = ",".join(images.built_runtimes())
    env["SANDBOX_LISTEN_PORT"] = env.get("SANDBOX_EXECUTOR_MANAGER_PORT", "9385")
    return env


def commands() -> dict[str, list[str]]:
    python = sys.executable
    gunicorn = str(Path(python).with_name("gunicorn"))
    return {
        "web": [gunicorn, "sandbox_platform.wsgi", "-c", "sandbox_platform/gunicorn.py", "--reload"],
        "worker": [python, "manage.py", "worker"],
        "keeper": [python, "manage.py", "keeper"],
        "callbacks": [python, "manage.py", "callbacks"],
        "egress": [python, "manage.py", "egress"],
    }


def relay(name: str, stream: IO[bytes]) -> None:
    for line in stream:
        sys.stdout.write(f"{name:<9}| {line.decode(errors='replace')}")
        sys.stdout.flush()


def spawn(name: str, command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    # In a session of its own, so that Ctrl-C reaches only this supervisor, which then stops the children in order.
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert child.stdout is not None  # noqa: S101 -- for the type checker
    threading.Thread(target=relay, args=(name, child.stdout), daemon=True).start()
    return child


def stop(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for child in children.values():
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for child in children.values():
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)


def supervise(env: dict[str, str]) -> int:
    """Run all processes until Ctrl-C or until one ends, then stop the others. Return the exit status."""
    children = {name: spawn(name, command, env) for name, command in commands().items()}
    port = env.get("SANDBOX_LISTEN_PORT", "9385")
    print(f"dev      | http://127.0.0.1:{port}/admin/ ; Ctrl-C stops everything", flush=True)
    try:
        while True:
            for name, child in children.items():
                if child.poll() is not None:
                    print(f"dev      | {name} exited with status {child.returncode}", flush=True)
                    return 1
            time.sleep(0.2)
    except KeyboardInterrupt:
        return 0
    finally:
        stop(children)


def interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, interrupt)
    env = environment()
    certificates.write_build_config()
    stop_postgres = None
    if not env.get("DATABASE_URL"):
        env["DATABASE_URL"], stop_postgres = embedded_postgres.start(DATA)
    try:
        for step in (["migrate", "--noinput"], ["bootstrap"]):
            done = subprocess.run([sys.executable, "manage.py", *step], cwd=ROOT, env=env, check=False)
            if done.returncode != 0:
                return done.returncode
        return supervise(env)
    except KeyboardInterrupt:
        return 0
    finally:
        stack.remove_sandboxes(env["SANDBOX_NODE"])
        if stop_postgres:
            stop_postgres()


if __name__ == "__main__":
    sys.exit(main())
