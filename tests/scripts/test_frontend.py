import json
import re
import subprocess
from pathlib import Path

import pytest

from scripts.setup import apt, frontend
from tests.live import ROOT

TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
    "\n"
)
LOCKS = [name for name in TRACKED if name.endswith("package-lock.json")]
FOR_BROWSERS = [
    name for name in TRACKED if Path(name).suffix in {".js", ".mjs", ".css"} and (ROOT / name).is_file()
]
# What published scripts and styles carry, and what nobody writes by hand.
OF_OTHERS = re.compile(
    r"copyright|\(c\)|@license|@preserve|licensed under|sourceMappingURL|^/\*!|.{400}", re.I | re.M
)


def packages(lock: str) -> dict[str, dict[str, str]]:
    listed = json.loads((ROOT / lock).read_text())
    assert listed["lockfileVersion"] == 3
    return {name: package for name, package in listed["packages"].items() if name}


def test_locks_are_found() -> None:
    assert {"console/frontend/package-lock.json", "images/nodejs/package-lock.json"} <= set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_content_and_names_no_address(lock: str) -> None:
    for name, package in packages(lock).items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
    assert "://" not in re.sub(r'"url": "[^"]*"', "", (ROOT / lock).read_text())


def test_what_is_installed_is_named_by_exact_versions() -> None:
    wanted = json.loads((ROOT / "console/frontend/package.json").read_text())
    for name, version in {**wanted["dependencies"], **wanted["devDependencies"], **wanted["overrides"]}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name


@pytest.mark.parametrize("machine", ["linux-x64", "linux-arm64"])
def test_lock_has_the_bundler_for_both_machines(machine: str) -> None:
    assert f"node_modules/@esbuild/{machine}" in packages("console/frontend/package-lock.json")


def test_nothing_that_is_built_is_tracked() -> None:
    assert [name for name in TRACKED if re.search(r"static/(vendor|unfold)/|node_modules/", name)] == []


def test_scripts_and_styles_are_found() -> None:
    assert {"console/static/console/playground.js", "console/frontend/editor.js"} <= set(FOR_BROWSERS)


@pytest.mark.parametrize("name", FOR_BROWSERS)
def test_script_or_style_is_our_own(name: str) -> None:
    found = OF_OTHERS.search((ROOT / name).read_text())
    assert found is None, found and found[0][:100]


def test_editor_makes_no_code_of_text() -> None:
    for name in ("editor.js", "alpine.js"):
        assert not re.search(r"\beval\(|\bnew Function\b|\bFunction\(", (frontend.TARGET / name).read_text()), name


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, name: str, says: str = "") -> None:
    (folder / name).write_text(f"#!/bin/sh\necho {says}\n")
    (folder / name).chmod(0o755)


def test_bare_machine_gets_node_and_npm(machine: Path) -> None:
    assert frontend.missing_packages() == ["nodejs", "npm"]


def test_old_node_is_replaced(machine: Path) -> None:
    program(machine, "node", "v16.20.2")
    program(machine, "npm")
    assert frontend.missing_packages() == ["nodejs", "npm"]


def test_node_of_debian_12_will_do(machine: Path) -> None:
    program(machine, "node", "v18.20.4")
    assert frontend.missing_packages() == ["npm"]
    program(machine, "npm")
    assert frontend.missing_packages() == []


def test_files_are_built_again_only_when_their_source_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With programs that count: the real ones take a registry."""
    source, target, bin_folder = tmp_path / "frontend", tmp_path / "vendor", tmp_path / "bin"
    for folder in (source, bin_folder):
        folder.mkdir()
    (source / "editor.js").write_text("one")
    monkeypatch.setattr(frontend, "FOLDER", source)
    monkeypatch.setattr(frontend, "TARGET", target)
    monkeypatch.setattr(frontend, "STAMP", target / ".content")
    monkeypatch.setattr(apt, "install", lambda names: pytest.fail(f"installs {names}"))
    runs = tmp_path / "runs"
    for name in ("npm", "node"):
        (bin_folder / name).write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && exec echo v18.20.4\n'
            f'echo {name} "$@" >> {runs}\n[ {name} = npm ] || mkdir -p "$2"\n'
        )
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    frontend.ensure()
    frontend.ensure()
    assert runs.read_text().splitlines() == [
        "npm ci --ignore-scripts --no-audit --no-fund",
        f"node build.mjs {target}",
    ]
    (source / "editor.js").write_text("two")
    frontend.ensure()
    assert len(runs.read_text().splitlines()) == 4
