"""The rooms import downwards only: the contracts are in pyproject.toml, their picture in docs/architecture.md."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT

LINT = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the tree's Python, to plant imports in."""
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py", "pyproject.toml"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in tracked.stdout.splitlines():
        if (ROOT / name).exists() and not name.startswith(("tests/", "images/")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [LINT, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def test_no_room_imports_a_higher_one(tree: Path) -> None:
    done = lint(tree)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("sandbox_platform/kit/units.py", "console.site"),
        ("runtimes/choices.py", "executions.models"),
        ("executions/verdict.py", "executions.egress.policy"),
        ("console/roles.py", "api.v1.base"),
        ("executions/admin/executions.py", "api.v1.problems"),
        ("executions/representation.py", "api.v1.answers"),
        ("api/compatible/base.py", "api.mcp.tools"),
    ],
)
def test_an_upward_import_is_found(tree: Path, module: str, imported: str) -> None:
    with (tree / module).open("a") as file:
        file.write(f"\nimport {imported}\n")
    done = lint(tree)
    assert done.returncode != 0
    assert imported.rpartition(".")[0] in done.stdout


def test_every_package_has_its_layer(tree: Path) -> None:
    """A new room cannot stand beside the layers unnoticed."""
    packages = {path.parent.name for path in tree.glob("*/__init__.py")}
    contract = (tree / "pyproject.toml").read_text().partition("[tool.importlinter]")[2]
    assert [name for name in sorted(packages) if f'"{name}' not in contract] == []


def literals(path: Path) -> list[str]:
    """The strings and names of a module, without its docstrings and comments."""
    tree = ast.parse(path.read_text())
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    nodes = [node for node in ast.walk(tree) if node not in prose]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return texts + [node.id for node in nodes if isinstance(node, ast.Name)]


@pytest.mark.parametrize(
    "room", ["executions", "sandboxes", "inspections", "builds", "redaction", "seccomp_profiles"]
)
def test_no_room_below_the_doors_knows_a_door(room: str) -> None:
    """What a door wants of a run is said in its request, and stored in the row."""
    knowing = {
        str(path.relative_to(ROOT)): found
        for path in (ROOT / room).rglob("*.py")
        if (found := [text for text in literals(path) if "ragflow" in text.lower()])
    }
    assert knowing == {}


def test_every_path_of_the_document_exists() -> None:
    named = re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]*(?:\.[a-z]+)?)`", (ROOT / "docs/architecture.md").read_text())
    assert len(named) > 40
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_room_is_in_the_platform_image(tree: Path) -> None:
    held = (ROOT / ".dockerignore").read_text().splitlines()
    not_needed = {"attacks", "bench", "examples", "fuzzing", "scripts", "tests"}
    packages = {path.parent.name for path in tree.glob("*/__init__.py")} - not_needed
    assert {name for name in packages if f"!{name}" not in held} == set()
