"""How the tests are spread over worker processes: a file at a time, and all that start sandboxes on one worker.

Sandboxes keep both cores of a small machine busy by themselves. Two platforms side by side were no faster than one
after the other, and tests that wait for an end ran out of patience.
"""

import contextlib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from xdist.scheduler import LoadScopeScheduling

from tests import database

FIGURE = "figure"  # a property that a test records: a line of the report at the end
SLOWEST = 10  # files in that report
LIVE = "live"  # the unit of all files with tests that start sandboxes
MARKS = ("needs_docker", "needs_stack")
ROOT = Path(__file__).resolve().parent.parent


@cache
def is_live(file: str) -> bool:
    """Whether some test of the file starts sandboxes. From its text: the scheduler knows names, not marks."""
    path = ROOT / file
    return path.is_file() and any(mark in path.read_text(encoding="utf-8") for mark in MARKS)


def unit(nodeid: str) -> str:
    file = nodeid.split("::")[0]
    return LIVE if is_live(file) else file


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
    """The live unit comes first, so that no worker is left with it when the others have done."""
    items.sort(key=lambda item: unit(item.nodeid) != LIVE)


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
