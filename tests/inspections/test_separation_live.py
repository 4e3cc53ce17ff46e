"""The self-test of separation with its real programs, through the queue, a worker and the pool."""

import json

import pytest

from inspections.separation import LEAVE, LOOK, PROGRAMS
from tests.live import Platform, eventually

pytestmark = pytest.mark.needs_docker

TEND = "from inspections import separation; separation.tend()"
OWN = "SELECT status, result, labels FROM executions_execution WHERE endpoint = 'self-test' ORDER BY id"


def test_the_second_program_finds_no_trace_of_the_first(platform: Platform) -> None:
    platform.manage("shell", "-c", TEND, service="keeper")
    (first,) = eventually(
        lambda: [row for row in platform.sql(OWN) if row["status"] == "succeeded"], "the first ends"
    )
    assert {"/tmp", "/workspace", "shared memory"} <= set(json.loads(first["result"]))
    platform.manage("shell", "-c", TEND, service="keeper")
    eventually(lambda: [row["status"] for row in platform.sql(OWN)] == ["succeeded"] * 2, "the second ends")
    assert json.loads(platform.sql(OWN)[1]["result"]) == []


def test_the_second_program_would_see_what_the_first_leaves(platform: Platform) -> None:
    """Both in one sandbox, as if it were used twice."""
    both = f"{PROGRAMS[LEAVE]}\nleave = main\n{PROGRAMS[LOOK]}\nlook = main\n"
    code = f"{both}def main():\n    leave('1')\n    time.sleep(0.3)\n    return look('2')\n"
    # The platform's own test is subject to no code policy; /run is.
    platform.sql("UPDATE runtimes_runtime SET ragflow_code_policy = 'off' WHERE slug = 'python'")
    try:
        seen = platform.run(code)["result"]["value"]
    finally:
        platform.sql("UPDATE runtimes_runtime SET ragflow_code_policy = 'block' WHERE slug = 'python'")
    assert "/tmp/self-test-trace-1" in seen
    assert "shared memory" in seen
    assert any(each.startswith("process ") for each in seen)
