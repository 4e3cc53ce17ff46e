from dataclasses import replace

import pytest

from clients.models import Client
from executions.limits import LimitTooHigh, effective_limits
from runtimes.models import ADJUSTABLE, MIB, Runtime
from tests.live import Platform


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(slug="python", wall_time_ms=10_000, memory_bytes=256 * MIB, artifact_count=10)


def test_runtimes_limits_without_a_client(runtime: Runtime) -> None:
    assert effective_limits(runtime, None, {}) == runtime.limits


def test_runtimes_limits_for_a_client_without_caps(runtime: Runtime) -> None:
    assert effective_limits(runtime, Client(), {}) == runtime.limits


@pytest.mark.parametrize("field", ADJUSTABLE)
def test_clients_lower_cap_holds(runtime: Runtime, field: str) -> None:
    client = Client(**{f"max_{field}": 1})
    assert effective_limits(runtime, client, {}) == replace(runtime.limits, **{field: 1})


@pytest.mark.parametrize("field", ADJUSTABLE)
def test_clients_higher_cap_does_not_raise_the_runtimes(runtime: Runtime, field: str) -> None:
    client = Client(**{f"max_{field}": 2**40})
    assert effective_limits(runtime, client, {}) == runtime.limits


def test_cap_of_zero_is_a_cap(runtime: Runtime) -> None:
    assert effective_limits(runtime, Client(max_artifact_count=0), {}).artifact_count == 0


@pytest.mark.parametrize("requested", [0, 1, 10])
def test_requested_value_up_to_the_cap_holds(runtime: Runtime, requested: int) -> None:
    assert effective_limits(runtime, None, {"artifact_count": requested}).artifact_count == requested


def test_request_above_the_runtimes_limit_names_it(runtime: Runtime) -> None:
    with pytest.raises(
        LimitTooHigh, match="wall_time_ms is above the limit of the runtime python.* 10 s"
    ) as caught:
        effective_limits(runtime, Client(max_wall_time_ms=20_000), {"wall_time_ms": 10_001})
    assert (caught.value.field, caught.value.cap) == ("wall_time_ms", 10_000)


def test_request_above_the_clients_cap_names_it(runtime: Runtime) -> None:
    with pytest.raises(LimitTooHigh, match="wall_time_ms is above the cap of the client dify.* 500 ms"):
        effective_limits(runtime, Client(name="dify", max_wall_time_ms=500), {"wall_time_ms": 501})


@pytest.mark.parametrize("field", ADJUSTABLE)
def test_run_keeps_what_it_was_accepted_with(runtime: Runtime, field: str) -> None:
    accepted = runtime.limits.as_dict() | {field: 1}
    assert runtime.limits.lowered_to(accepted) == replace(runtime.limits, **{field: 1})


@pytest.mark.parametrize("field", ADJUSTABLE)
def test_run_is_not_above_what_its_runtime_has_now(runtime: Runtime, field: str) -> None:
    accepted = runtime.limits.as_dict() | {field: 2**40}
    assert runtime.limits.lowered_to(accepted) == runtime.limits


@pytest.mark.needs_docker
def test_running_program_is_ended_at_its_clients_cap(platform: Platform) -> None:
    platform.sql("UPDATE executions_client SET max_wall_time_ms = 3000, max_output_bytes = 1024")
    try:
        code = "import time\ndef main(size):\n    print('x' * size, flush=True)\n    time.sleep(60)"
        answer = platform.run(code, arguments={"size": 5000})
    finally:
        platform.sql("UPDATE executions_client SET max_wall_time_ms = NULL, max_output_bytes = NULL")
    assert (answer["status"], answer["resource_limit_type"]) == ("resource_limit_exceeded", "time")
    row = platform.last_execution()
    assert (row["limits"]["wall_time_ms"], len(row["stdout"]), row["stdout_truncated"]) == (3000, 1024, True)


def test_a_refused_size_is_told_with_its_unit(runtime: Runtime) -> None:
    runtime.memory_bytes = 335544320
    with pytest.raises(LimitTooHigh, match="which is 320 MiB") as refused:
        effective_limits(runtime, None, {"memory_bytes": 2**40})
    assert refused.value.remedy == "Request at most 335544320 (320 MiB)"
