import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT
from tests.rerunning import MOST

TESTS = """
import pathlib

import pytest


@pytest.mark.parametrize("number", range({number}))
def test_fails_at_first(number):
    tried = pathlib.Path(__file__).with_name(f"tried-{{number}}")
    if not tried.exists():
        tried.touch()
        raise ValueError("late")


def test_other():
    assert {other}
"""


def run(folder: Path, number: int, *, other: bool = True) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(TESTS.format(number=number, other=other))
    plugins = [word for name in ("xdist", "pytest_rerunfailures", "tests.rerunning") for word in ("-p", name)]
    command = [sys.executable, "-m", "pytest", *plugins, "-c", os.devnull, "--rootdir", str(folder)]
    # Of the other plugins some take seconds to load.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*command, "-n", "2", "--reruns", "1", "test_it.py"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_test_that_passes_at_the_second_try_is_named_with_its_first_error(tmp_path: Path) -> None:
    done = run(tmp_path, 1)
    assert done.returncode == pytest.ExitCode.OK
    assert "1 failed and ran again" in done.stdout
    assert "test_it.py::test_fails_at_first[0]" in done.stdout
    assert "ValueError: late" in done.stdout
    assert "2 passed, 1 rerun" in done.stdout.splitlines()[-1]


def test_more_than_a_few_that_ran_again_fail_the_suite(tmp_path: Path) -> None:
    assert run(tmp_path, MOST + 1).returncode == pytest.ExitCode.TESTS_FAILED


def test_a_test_that_fails_twice_fails(tmp_path: Path) -> None:
    done = run(tmp_path, 0, other=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 skipped, 1 rerun" in done.stdout.splitlines()[-1]


def test_nothing_is_said_where_nothing_ran_again(tmp_path: Path) -> None:
    done = run(tmp_path, 0)
    assert done.returncode == pytest.ExitCode.OK
    assert "ran again" not in done.stdout
