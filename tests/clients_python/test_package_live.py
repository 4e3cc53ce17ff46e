"""The wheel, as somebody installs it: its README's first example works as printed."""

import json
import os
import re
import shutil
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


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    machine = os.environ | pip_config().uv_environment()
    call(uv(), "venv", folder / "venv", env=machine, cwd=folder)
    call(uv(), "pip", "install", "--python", folder / "venv/bin/python", wheel, env=machine, cwd=folder)
    return folder / "venv/bin"


@pytest.fixture
def told(installed: Path, platform: Platform, tmp_path: Path) -> dict[str, str]:
    told = environment(tmp_path, SANDBOX_URL=platform.url, SANDBOX_TOKEN=TOKEN, PYTHONPATH="")
    return told | {"PATH": f"{installed}:{told['PATH']}"}


def test_first_example_works_as_printed(installed: Path, told: dict[str, str], tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", README, re.DOTALL)
    assert found
    example, printed = found.groups()
    assert call(installed / "python", "-c", example, env=told, cwd=tmp_path).strip() == printed.strip()
    assert call("sandbox", "run", "-c", "print(6 * 7)", env=told, cwd=tmp_path) == "42\n"


def test_mcp_needs_only_what_the_wheel_needs(installed: Path, told: dict[str, str], tmp_path: Path) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    done = subprocess.run(
        [installed / "sandbox", "mcp"], input=json.dumps(request), env=told, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_bash_completes(told: dict[str, str], tmp_path: Path) -> None:
    complete = """
    eval "$(sandbox completion bash)"
    COMP_WORDS=(sandbox logi) COMP_CWORD=1
    _sandbox_completion sandbox logi sandbox
    echo "${COMPREPLY[@]}"
    """
    assert call("bash", "-c", complete, env=told, cwd=tmp_path) == "login\n"


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh: make prepare_tests")
@pytest.mark.parametrize("is_loaded", [True, False])
def test_zsh_completes(is_loaded: bool, told: dict[str, str], tmp_path: Path) -> None:
    """In a terminal, with the key Tab. The words that are waited for are not in what is typed, which is echoed."""
    load = "autoload -U compinit && compinit -u; " if is_loaded else ""
    complete = f"""
    zmodload zsh/zpty
    zpty terminal zsh -f -i
    zpty -w terminal '{load}eval "$(sandbox completion zsh)"; sandbox() {{ print -r "g""ot:$1:" }}; print rea""dy'
    zpty -r terminal shown '*ready*'
    zpty -w terminal $'sandbox logi\t'
    zpty -r terminal shown '*got:*:*'
    print -r -- "$shown"
    """
    assert "got:login:" in call("zsh", "-f", "-c", complete, env=told | {"HOME": str(tmp_path)}, cwd=tmp_path)
