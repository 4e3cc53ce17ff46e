import json
import subprocess
import sys
from typing import Any

import pytest
from django_q.models import OrmQ

from executions import services
from sandbox_platform.kit import tasks
from sandbox_platform.kit.tasks import LONGEST_ARGUMENT, MOST_ARGUMENTS, BadPayload, Task, read
from tests.live import ROOT
from tests.tasks import queued


def payload(**values: Any) -> str:
    return json.dumps({"task": services.RUN.name, "arguments": []} | values)


def test_what_is_queued_is_read_again(db: None) -> None:
    services.RUN.enqueue("some-id", 7)
    assert queued() == [(services.RUN, ("some-id", 7))]


def test_row_is_json_that_names_no_function(db: None) -> None:
    services.RUN.enqueue("some-id")
    assert json.loads(OrmQ.objects.get().payload) == {"task": "run", "arguments": ["some-id"]}


@pytest.mark.parametrize(
    "row",
    [
        "",
        "gASVDgAAAAAAAACMCmJ1aWx0aW5zLnCUhZQu",
        "[" * 100_000,
        "[]",
        '"run"',
        "{}",
        payload(more=1),
        payload(task="os.system"),
        payload(task="executions.tasks.run_execution"),
        payload(task=["run"]),
        payload(task=None),
        payload(arguments="id"),
        payload(arguments={"id": 1}),
        payload(arguments=[["id"]]),
        payload(arguments=[True]),
        payload(arguments=[1.5]),
        payload(arguments=[None]),
        payload(arguments=["x" * (LONGEST_ARGUMENT + 1)]),
        payload(arguments=[1] * (MOST_ARGUMENTS + 1)),
    ],
)
def test_row_of_another_kind_is_refused(row: str) -> None:
    with pytest.raises(BadPayload):
        read(row)


def test_what_no_worker_would_read_is_not_queued(db: None) -> None:
    with pytest.raises(BadPayload, match="200 characters"):
        services.RUN.enqueue("x" * (LONGEST_ARGUMENT + 1))
    assert not OrmQ.objects.exists()


def test_two_tasks_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two tasks are named 'run'"):
        Task(services.RUN.name, "builtins.print", senders=[])


def test_every_process_knows_every_task() -> None:
    script = "from sandbox_platform.kit import tasks; print(*sorted(tasks._declared), sep=',')"
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-v0", "-c", script]
    known = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert (
        known
        == "activate build,build,deliver callback,deliver head,doctor,inspect,probe build,run,send alert,verify"
    )
    assert known == ",".join(sorted(tasks._declared))
