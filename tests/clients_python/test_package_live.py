"""The wheel, as somebody installs it: its README's first example works as printed."""

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from scripts.setup.certificates import pip_config
from scripts.setup.python_env import uv
from tests.clients_python.conftest import SOURCE, environment
from tests.live import TOKEN, Platform

pytestmark = pytest.mark.needs_docker
README = (SOURCE / "README.md").read_text()


def call(*command: str | Path, env: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(
        uv(),
        "build",
        "--wheel",
        "--out-dir",
        folder,
        SOURCE,
        env=os.environ | pip_config().uv_environment(),
        cwd=folder,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_is_typed_and_has_its_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "sandbox_client/py.typed" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sandbox_client", "sandbox_platform_client"}


def test_first_example_works_as_printed(wheel: Path, tmp_path: Path, platform: Platform) -> None:
    venv, machine = tmp_path / "venv", os.environ | pip_config().uv_environment()
    call(uv(), "venv", venv, env=machine, cwd=tmp_path)
    call(uv(), "pip", "install", "--python", venv / "bin/python", wheel, env=machine, cwd=tmp_path)
    found = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", README, re.DOTALL)
    assert found
    example, printed = found.groups()
    told = environment(tmp_path, SANDBOX_URL=platform.url, SANDBOX_TOKEN=TOKEN, PYTHONPATH="")
    assert call(venv / "bin/python", "-c", example, env=told, cwd=tmp_path).strip() == printed.strip()
    assert call(venv / "bin/sandbox", "run", "-c", "print(6 * 7)", env=told, cwd=tmp_path) == "42\n"
    complete = "\n".join(
        [
            'eval "$(sandbox completion bash)"',
            "COMP_WORDS=(sandbox logi) COMP_CWORD=1",
            "_sandbox_completion sandbox logi sandbox",
            'echo "${COMPREPLY[@]}"',
        ]
    )
    told["PATH"] = f"{venv / 'bin'}:{told['PATH']}"
    assert call("bash", "-c", complete, env=told, cwd=tmp_path) == "login\n"
