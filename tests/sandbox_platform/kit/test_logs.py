"""Lines of the log, and what they leave out."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from sandbox_platform.kit import request_ids
from sandbox_platform.kit.logs import Json, Lines, formatter_of
from tests.live import ROOT

SECRET = "def main(): return 'hunter2'"


def record(
    message: str = "execution %s", *arguments: Any, error: BaseException | None = None, **extra: Any
) -> Any:
    exc_info = (type(error), error, error.__traceback__) if error else None
    made = logging.getLogger("executions.tasks").makeRecord(
        "executions.tasks", logging.WARNING, __file__, 1, message, arguments, exc_info, extra=extra
    )
    return made


def raised() -> ValueError:
    try:
        raise ValueError(SECRET)
    except ValueError as e:
        return e


def test_a_line_of_json_has_service_node_and_ids() -> None:
    with request_ids.serving("mine"):
        text = Json("worker", "n1").format(record("execution %s: %s", 7, "done", execution_id="7", outcome=""))
    line = json.loads(text)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning", "logger": "executions.tasks", "service": "worker", "node": "n1",
        "message": "execution 7: done", "request_id": "mine", "execution_id": "7",
    }  # fmt: skip


@pytest.mark.parametrize("formatter", [Json("web", "n1"), Lines()])
def test_an_exception_is_told_without_its_text(formatter: logging.Formatter) -> None:
    text = formatter.format(record("failed", error=raised()))
    assert "hunter2" not in text
    assert "ValueError" in text and "test_logs.py" in text


def test_what_is_not_known_as_an_id_is_left_out() -> None:
    assert "hunter2" not in Json().format(record("failed", code_of_program=SECRET, stdout=SECRET))


def test_a_line_for_people_ends_with_its_ids() -> None:
    with request_ids.serving("mine"):
        text = Lines().format(record("slow", error=raised(), runtime="python"))
    assert text.splitlines()[0].endswith("slow request_id=mine runtime=python")


def test_json_is_one_line_whatever_the_message() -> None:
    assert "\n" not in Json().format(record("a\nb \u2028 \x00"))


def test_the_setting_chooses() -> None:
    program = "import logging; logging.getLogger('x').warning('hello')"
    found = {}
    for chosen in ("json", "line"):
        done = subprocess.run(
            [sys.executable, "-c", f"import django; django.setup(); {program}"],
            cwd=ROOT, capture_output=True, text=True, check=True,
            env={"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings", "SANDBOX_LOG_FORMAT": chosen,
                 "SANDBOX_SERVICE": "keeper", "SANDBOX_NODE": "n7", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        found[chosen] = done.stderr
    line = json.loads(found["json"])
    assert (line["service"], line["node"], line["message"]) == ("keeper", "n7", "hello")
    assert found["line"].rstrip().endswith("WARNING x hello")


def test_a_declared_formatter_gets_its_values() -> None:
    formatter = formatter_of({"()": Json, "service": "web", "node": "n"})
    assert json.loads(formatter.format(record("m")))["service"] == "web"
