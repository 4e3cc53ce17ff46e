"""The password by which a service of a container with several services is known to Postgres."""

import os
import subprocess
import sys
from pathlib import Path

CODE = (
    "from sandbox_platform.settings import DATABASES as d; print(d['default']['USER'], d['default']['PASSWORD'])"
)


def role_and_password(tmp_path: Path, **environment: str) -> str:
    for name in ("worker", "keeper"):
        (tmp_path / name).write_text(f"of-{name}\n")
        environment[f"SANDBOX_DATABASE_{name.upper()}_PASSWORD_FILE"] = str(tmp_path / name)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("SANDBOX_", "DATABASE_"))
    }
    url = {"DATABASE_URL": "postgres://db.example/sandbox"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=inherited | url | environment, check=True
    )
    return done.stdout.strip()


def test_each_service_has_its_own(tmp_path: Path) -> None:
    assert role_and_password(tmp_path, SANDBOX_SERVICE="worker") == "sandbox_worker of-worker"
    assert role_and_password(tmp_path, SANDBOX_SERVICE="keeper") == "sandbox_keeper of-keeper"


def test_password_of_the_container_comes_first(tmp_path: Path) -> None:
    found = role_and_password(tmp_path, SANDBOX_SERVICE="worker", DATABASE_PASSWORD="of-all")
    assert found == "sandbox_worker of-all"
