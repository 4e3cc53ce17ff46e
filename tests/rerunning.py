"""A plugin of `make test`, where a failed test runs once more (`--reruns 1`).

On saturated cores anything may be late by seconds, and one such test in ten thousand fails the whole suite. Whoever
passed at the second try is named at the end with the first error, for it is a fault to mend; and more than a few of
them fail the suite.
"""

import pytest
from _pytest.terminal import TerminalReporter

MOST = 5


def ran_again(reporter: TerminalReporter) -> list[pytest.TestReport]:
    return list(reporter.stats.get("rerun", []))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(session.config, "workerinput") or reporter is None:
        return
    if exitstatus == pytest.ExitCode.OK and len(ran_again(reporter)) > MOST:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    again = ran_again(terminalreporter)
    if not again:
        return
    terminalreporter.write_sep("=", f"{len(again)} failed and ran again; more than {MOST} fail the suite")
    for report in again:
        terminalreporter.write_sep("-", report.nodeid)
        terminalreporter.write_line(report.longreprtext)
