"""How the tests are spread over worker processes: a file at a time, and the files that share a platform as one.

The longest come first, so that no worker is left with one of them when the others have done. The order is that of
seconds, not of tests: one that waits for a real sandbox takes as long as hundreds that do not.
"""

import contextlib
from collections import Counter

import pytest
from _pytest.terminal import TerminalReporter
from xdist.scheduler import LoadScopeScheduling

from tests import database

FIGURE = "figure"  # a property that a test records: a line of the report at the end
SLOWEST = 10  # units in that report
# Files and folders whose tests take the session's one platform: each unit starts its own.
SHARED = {
    "tests/browser": "the platform of the browser",
    "tests/api/ragflow": "the platform of the API",
    "tests/api/v1/test_live.py": "the platform of the API",
    "tests/audit/test_live.py": "the platform of the API",
    "tests/executions/test_limits.py": "the platform of the API",
    "tests/executions/test_watched_live.py": "the platform of the API",
    "tests/inspections/test_live.py": "the platform of the API",
    "tests/inspections/test_platform_live.py": "the platform of the API",
    "tests/runtimes/test_folder_live.py": "the platform of the API",
    "tests/runtimes/test_smoke_live.py": "the platform of the API",
}
LONGEST_FIRST = (
    "tests/executions/test_resilience.py",
    "the platform of the browser",
    "the platform of the API",
)


def unit(nodeid: str) -> str:
    file = nodeid.split("::")[0]
    return next((name for path, name in SHARED.items() if file == path or file.startswith(f"{path}/")), file)


def rank(item: pytest.Item) -> tuple[int, str]:
    """Of its unit: the longest ones, then others that wait for sandboxes, then what needs none."""
    name = unit(item.nodeid)
    if name in LONGEST_FIRST:
        return LONGEST_FIRST.index(name), name
    return len(LONGEST_FIRST) + (item.get_closest_marker("needs_docker") is None), name


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
    first: dict[str, tuple[int, str]] = {}
    for item in items:
        name = unit(item.nodeid)
        first[name] = min(rank(item), first.get(name, rank(item)))
    items.sort(key=lambda item: first[unit(item.nodeid)])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByUnit:
    return ByUnit(config, log)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """What takes long, by unit, and the figures that tests recorded."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[unit(report.nodeid)] += report.duration
                for figure in (str(value) for name, value in report.user_properties if name == FIGURE):
                    if report.when == "call":
                        terminalreporter.write_line(figure)
    if terminalreporter.config.getoption("durations"):
        terminalreporter.write_sep("=", f"slowest {SLOWEST} units")
        for name, total in seconds.most_common(SLOWEST):
            terminalreporter.write_line(f"{total:.0f}s {name}")
