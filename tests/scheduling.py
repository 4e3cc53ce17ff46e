"""How the tests are spread over worker processes: a file at a time, and those that share a platform on one worker.

Files that start sandboxes come first, the units of shared platforms before all others: they take longest. What needs
no Docker fills the gaps at the end, the files that start processes before the others.
"""

import contextlib
import gc
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from xdist.scheduler import LoadScopeScheduling

from tests import database

FIGURE = "figure"  # a property that a test records: a line of the report at the end
SLOWEST = 10  # files in that report
# The units of all files whose tests use the fixture `platform`: those in a browser, and the others. Both in one would
# take longer than all the rest.
SHARED = "shared platform"
SHARED_IN_BROWSER = "shared platform, in a browser"
MARKS = ("needs_docker", "needs_stack")
FIXTURE = re.compile(r"[( ]platform(: Platform)?[,)]|\bopen_page: Open\b")
OF_ITS_OWN = re.compile(r"\bPlatform\(")
PROCESSES = re.compile(r"\bsubprocess\.")
ROOT = Path(__file__).resolve().parent.parent


@cache
def text_of(file: str) -> str:
    """The scheduler knows the names of tests, and neither marks nor fixtures."""
    path = ROOT / file
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def is_live(file: str) -> bool:
    """Whether some test of the file starts sandboxes."""
    return any(mark in text_of(file) for mark in MARKS)


def unit(nodeid: str) -> str:
    file = nodeid.split("::")[0]
    shares = is_live(file) and FIXTURE.search(text_of(file)) and not OF_ITS_OWN.search(text_of(file))
    if not shares:
        return file
    return SHARED_IN_BROWSER if file.startswith("tests/browser/") else SHARED


def rank(file_or_unit: str) -> int:
    if file_or_unit in (SHARED, SHARED_IN_BROWSER):
        return 0
    if is_live(file_or_unit):
        return 1
    return 2 if PROCESSES.search(text_of(file_or_unit)) else 3


class ByUnit(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    # The workers find the folder in the environment that they inherit.
    if not hasattr(config, "workerinput"):
        stack = contextlib.ExitStack()
        stack.enter_context(database.shared_templates())
        config.add_cleanup(stack.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no worker is left with it when the others have done."""
    items.sort(key=lambda item: rank(unit(item.nodeid)))


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector need not look through a million objects again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByUnit:
    return ByUnit(config, log)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """What takes long, by file, and the figures that tests recorded."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.split("::")[0]] += report.duration
                for figure in (str(value) for name, value in report.user_properties if name == FIGURE):
                    if report.when == "call":
                        terminalreporter.write_line(figure)
    if terminalreporter.config.getoption("durations"):
        terminalreporter.write_sep("=", f"slowest {SLOWEST} files")
        for name, total in seconds.most_common(SLOWEST):
            terminalreporter.write_line(f"{total:.0f}s {name}")
