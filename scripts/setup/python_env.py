"""Install uv and the host's virtual environment for tests, development and linting."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import shutil
import sys
from pathlib import Path

from scripts.setup import apt
from scripts.setup.certificates import pip_config
from scripts.setup.host import ROOT, SetupError, must, parse_version, run, step

UV_VERSION = "0.13.9"
UV_FLOOR = (0, 5)
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements-dev.txt"
FRAMEWORKS = ROOT / "tests/examples/packages.txt"
FORMAT_CLIENTS = ROOT / "tests/api/compatible/clients/packages.txt"
STAMP = ".requirements"


@functools.cache
def uv() -> str:
    for candidate in (shutil.which("uv"), str(TOOLS / "bin/uv")):
        if candidate and parse_version(run([candidate, "--version"]).stdout) >= UV_FLOOR:
            return candidate
    raise SetupError("uv", "neither in PATH nor in .tools", "make ensure_uv")


def ensure_uv() -> None:
    with step("uv") as current:
        try:
            current.note(f"found {uv()}")
        except SetupError:
            install_uv()
            current.note(f"installed {UV_VERSION} into .tools")


def install_uv() -> None:
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        apt.install(["python3-venv", "ca-certificates"])
    fix = "rm -rf .tools && make ensure_uv"
    must([sys.executable, "-m", "venv", "--clear", TOOLS], check="a virtual environment for uv", fix=fix)
    must(
        [TOOLS / "bin/python", "-m", "pip", "install", "--quiet", f"uv=={UV_VERSION}"],
        check="uv from the machine's package index",
        fix="check pip's configuration (pip config list), then " + fix,
        timeout=300,
    )


def ensure_venv() -> None:
    with step("Python environment .venv") as current:
        changed = synchronise(VENV, REQUIREMENTS)
        current.note(f"synchronised with {REQUIREMENTS.name}" if changed else "up to date")


def synchronise(venv: Path, requirements: Path) -> bool:
    """Make the environment hold what the file lists; return whether it did not."""
    stamp = venv / STAMP
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = venv / "bin/python"
    if run([python, "--version"]).returncode == 0 and stamp.exists() and stamp.read_text() == wanted:
        return False
    env = pip_config().uv_environment()
    fix = f"rm -rf {venv.relative_to(ROOT)} && make ensure_uv"
    if run([python, "--version"]).returncode != 0:
        must([uv(), "venv", "--clear", "--python", sys.executable, venv], env=env, check=venv.name, fix=fix)
    stamp.unlink(missing_ok=True)
    must(
        [uv(), "pip", "sync", "--require-hashes", "--python", python, requirements],
        env=env,
        check=f"the packages of {requirements.name}",
        fix="check pip's configuration (pip config list), then " + fix,
        timeout=3600,
    )
    stamp.write_text(wanted)
    return True


# What is installed, from what it follows, and for which machines.
LOCKS: tuple[tuple[Path, str, list[str]], ...] = (
    (ROOT / "requirements.txt", "pyproject.toml", ["--universal"]),
    (REQUIREMENTS, "pyproject.toml", ["--universal", "--group", "dev"]),
    (
        ROOT / "images/python/packages.txt",
        "images/python/packages.in",
        ["--python-version", "3.13", "--python-platform", "linux"],
    ),
    # Of the tests of agent frameworks: they need other versions than .venv has.
    (FRAMEWORKS, "tests/examples/packages.in", ["--universal"]),
    # Libraries with which people call other sandboxes, for the tests of their formats.
    (FORMAT_CLIENTS, "tests/api/compatible/clients/packages.in", ["--universal"]),
)


def lock() -> None:
    ensure_uv()
    for target, source, options in LOCKS:
        with step(f"locking {target.name}"):
            must(
                [
                    uv(), "pip", "compile", source, *options,
                    "--generate-hashes", "--quiet",
                    # A tracked file must not contain the address of a mirror.
                    "--no-emit-index-url", "--no-emit-find-links", "--no-header",
                    "--output-file", str(target.relative_to(ROOT)),
                ],
                env=pip_config().uv_environment(),
                check=f"locking {target.name}",
                fix=f"correct {source}, then make lock",
                timeout=600,
            )  # fmt: skip
