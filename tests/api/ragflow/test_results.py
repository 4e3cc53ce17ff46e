"""What /run answers of an ended execution."""

from collections.abc import Callable

import pytest

from api.ragflow import results
from executions.models import Execution, Outcome, Status
from executions.representation import timing_headers

ENDS = [
    (Status.SUCCEEDED, Outcome.COMPLETED),
    (Status.FAILED, Outcome.NONZERO_EXIT),
    (Status.OUT_OF_MEMORY, Outcome.MEMORY),
    (Status.CANCELLED, Outcome.QUEUE_TIMEOUT),
    (Status.PLATFORM_ERROR, Outcome.START_FAILED),
]


@pytest.mark.parametrize(("status", "outcome"), ENDS)
def test_answer_reads_only_the_columns_that_its_request_waited_for(
    make_execution: Callable[..., Execution],
    django_assert_num_queries: Callable[..., object],
    status: Status,
    outcome: Outcome,
) -> None:
    pk = make_execution(status=status, outcome=outcome, result="1").pk
    execution = Execution.objects.only(*results.COLUMNS).get(pk=pk)
    with django_assert_num_queries(0):  # type: ignore[attr-defined]
        results.render(execution, [])
        assert timing_headers(execution)["X-Execution-Id"] == str(pk)
