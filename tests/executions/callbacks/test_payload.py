import json
from collections.abc import Callable
from typing import Any

import pytest

from executions.callbacks import payload
from executions.models import Execution, Outcome, Status

pytestmark = pytest.mark.django_db
MakeExecution = Callable[..., Execution]


def data(execution: Execution) -> dict[str, Any]:
    return dict(json.loads(payload.body(execution))["data"])


def test_the_body_says_how_the_execution_ended(make_execution: MakeExecution) -> None:
    execution = make_execution(result='{"a":[1,null]}', stdout="out", stderr="err", exit_code=0)
    message = json.loads(payload.body(execution))
    assert (message["type"], message["timestamp"]) == ("execution.finished", execution.finished_at.isoformat())
    told = message["data"]
    assert (told["id"], told["status"], told["outcome"]) == (str(execution.pk), "succeeded", "completed")
    assert (told["result"], told["stdout"], told["stderr"]) == ({"a": [1, None]}, "out", "err")
    assert (told["exit_code"], told["runtime"], told["result_omitted"]) == (0, "python", False)


def test_large_output_is_cut_and_says_so(make_execution: MakeExecution) -> None:
    told = data(make_execution(stdout="x" * (payload.OUTPUT_CHARACTERS + 1), stderr="y"))
    assert (len(told["stdout"]), told["stdout_truncated"]) == (payload.OUTPUT_CHARACTERS, True)
    assert (told["stderr"], told["stderr_truncated"]) == ("y", False)


def test_a_large_result_is_left_out_and_says_so(make_execution: MakeExecution) -> None:
    told = data(make_execution(result=json.dumps("x" * payload.RESULT_CHARACTERS)))
    assert (told["result"], told["result_omitted"]) == (None, True)


def test_a_lone_surrogate_in_the_result_is_sent_as_it_came(make_execution: MakeExecution) -> None:
    assert data(make_execution(result='"\\ud800"'))["result"] == "\ud800"


@pytest.mark.parametrize("started", [True, False])
def test_receiver_learns_whether_a_retry_is_safe(make_execution: MakeExecution, started: bool) -> None:
    ended = make_execution(status=Status.PLATFORM_ERROR, outcome=Outcome.WORKER_LOST, started=started, requeues=3)
    told = data(ended)
    assert (told["started"], told["requeues"]) == (started, 3)
