"""The Python client against a real platform: both clients, the same operations."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox_client import (
    AsyncSandbox,
    Conflict,
    InvalidRequest,
    NotFound,
    Program,
    Sandbox,
    Unauthorized,
    WaitTimeout,
)

from tests.live import TOKEN, Platform, eventually

pytestmark = pytest.mark.needs_docker
SLEEP = "import time\nprint('on', flush=True)\ntime.sleep(60)"
PICTURE = """
import base64
open('artifacts/dot.png', 'wb').write(base64.b64decode(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='))
open('artifacts/table.csv', 'w').write('a,b\\n1,<2>\\n')
"""


@pytest.fixture
def sandbox(platform: Platform) -> Iterator[Sandbox]:
    with Sandbox(platform.url, TOKEN) as it:
        yield it


def test_a_program_runs_with_all_that_it_was_given(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "local.bin").write_bytes(b"\xff\0")
    execution = sandbox.run(
        files={
            "main.py": "import os, sys\nprint(sys.argv[1:], os.getenv('A'), input(), open('d/x','rb').read())",
            "d/x": tmp_path / "local.bin",
        },
        entry="main.py", argv=["-v"], environment={"A": "a"}, stdin="in", labels={"of": "client"},
    )  # fmt: skip
    assert (execution.status, execution.stdout) == ("succeeded", "['-v'] a in b'\\xff\\x00'\n")
    assert [(it.path, it.size) for it in sandbox.files(execution)] == [("d/x", 2)]
    assert [it.id for it in sandbox.search(labels={"of": "client"}, limit=1)] == [execution.id]


def test_a_function_returns_its_result(sandbox: Sandbox) -> None:
    code = "def main(a, b):\n    return a + b"
    assert sandbox.run(code, mode="function", arguments={"a": 1, "b": 2}).result == 3


def test_an_idempotency_key_runs_a_program_once(sandbox: Sandbox) -> None:
    first, second = (sandbox.submit("print(1)", idempotency_key="client-once") for _ in range(2))
    assert first.id == second.id


def test_waiting_ends_and_the_run_goes_on_until_it_is_cancelled(sandbox: Sandbox) -> None:
    with pytest.raises(WaitTimeout) as caught:
        sandbox.run(SLEEP, timeout=0.5)
    execution = caught.value.waited_for
    assert not sandbox.get(execution.id).ended
    sandbox.cancel(execution.id)
    assert sandbox.wait(execution.id, timeout=30).status == "cancelled"
    with pytest.raises(Conflict) as refused:
        sandbox.cancel(execution.id)
    assert refused.value.problem.code == "already_ended"


def test_output_arrives_while_the_program_runs_and_can_be_resumed(sandbox: Sandbox) -> None:
    execution = sandbox.submit(SLEEP)
    events = sandbox.stream(execution)
    first = next(it for it in events if it.kind == "stdout")
    assert first.text == "on\n"
    assert not sandbox.get(execution).ended
    sandbox.cancel(execution)
    left = list(sandbox.stream(execution, after=first.id))
    assert [it.status for it in left] == ["cancelled"]


def test_a_batch_returns_output_in_the_order_of_submission(sandbox: Sandbox) -> None:
    programs: list[str | Program] = [f"print({number})" for number in range(3)]
    batch = sandbox.batch([*programs, {"code": "exit(3)"}], timeout=60)
    assert [(it.stdout, it.exit_code) for it in batch.executions] == [("0\n", 0), ("1\n", 0), ("2\n", 0), ("", 3)]


def test_artifacts_are_pictures_in_a_notebook(sandbox: Sandbox, tmp_path: Path) -> None:
    found = sandbox.artifacts(sandbox.run(PICTURE).check())
    assert [it.name for it in found] == ["dot.png", "table.csv"]
    assert (found.named("dot.png")._repr_png_() or b"").startswith(b"\x89PNG")
    assert "<td>&lt;2&gt;</td>" in found._repr_html_()
    assert found.named("dot.png").save(tmp_path).read_bytes().startswith(b"\x89PNG")


def test_errors_carry_the_problem(sandbox: Sandbox, platform: Platform) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sandbox.run("", runtime="cobol")
    assert (caught.value.problem.field, caught.value.problem.status) == ("runtime", 422)
    assert caught.value.request_id
    with pytest.raises(NotFound):
        sandbox.get("01a20d5f-1aa1-77e5-acc3-c309aed66b9c")
    with pytest.raises(Unauthorized):
        Sandbox(platform.url, "wrong").me()


def test_runtimes_and_the_caller_are_shown(sandbox: Sandbox) -> None:
    assert "python" in [it.slug for it in sandbox.runtimes()]
    assert sandbox.me().client == "ragflow"


def test_the_other_client_awaits_the_same(platform: Platform) -> None:
    async def walk() -> list[str]:
        async with AsyncSandbox(platform.url, TOKEN) as sandbox:
            one, two = await asyncio.gather(sandbox.run("print(1)"), sandbox.run("print(2)"))
            events = [it.text async for it in sandbox.stream(one) if it.kind == "stdout"]
            batch = await sandbox.batch(["print(3)"])
            found = [it.id async for it in sandbox.search(batch=batch.id)]
            assert found == [batch.executions[0].id]
            return [one.stdout, two.stdout, *events, batch.executions[0].stdout]

    assert asyncio.run(walk()) == ["1\n", "2\n", "1\n", "3\n"]


def test_a_large_upload_tells_how_far_it_is(platform: Platform) -> None:
    told: list[tuple[int, int]] = []
    with Sandbox(platform.url, TOKEN, on_upload=lambda sent, total: told.append((sent, total))) as sandbox:
        execution = sandbox.run(
            files={"main.py": "print(len(open('big').read()))", "big": "x" * 300_000}, entry="main.py"
        )
    assert execution.stdout == "300000\n"
    assert len(told) > 3
    assert told[-1][0] == told[-1][1]


def test_a_run_ends_for_whoever_waits(sandbox: Sandbox) -> None:
    execution = sandbox.submit("print(1)")
    assert sandbox.wait(execution.id, timeout=60).stdout == "1\n"
    eventually(lambda: sandbox.get(execution).ended, "it stays ended")
