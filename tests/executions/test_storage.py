"""What a client stores, counted by triggers on every path, against the count from scratch."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from audit import purging, sealing
from audit.models import RetentionPolicy
from clients import storage as counters
from clients.models import Client, ClientStorage, StorageChange
from clients.storage import stored_bytes
from executions import services, storage
from executions.models import Artifact, Execution, InputFile, Outcome, Status
from executions.storage import PER_EXECUTION, PER_FILE
from executions.verdict import Verdict
from redaction.models import RedactionPattern
from redaction.services import cache
from runtimes.models import Runtime
from sandboxes.session import Report

MakeExecution = Callable[..., Execution]
EMPTY = len("[]") + len("{}") + len("{}") + len("[]")  # argv, variables, labels, violations
LIMITS = {"output_bytes": 1000}


@pytest.fixture
def owner(db: None) -> Client:
    return Client.objects.create(name="dify")


def submit(owner: Client | None, runtime: Runtime, **fields: object) -> Execution:
    request = services.Request(runtime=runtime, code="print()", endpoint="test", client=owner, **fields)
    return services.submit(request, policy="off")


def finish(execution: Execution, stdout: bytes = b"", artifacts: tuple[tuple[str, bytes], ...] = ()) -> None:
    now = timezone.now()
    report = Report(stdout=stdout, artifacts=list(artifacts), started_at=now, ended_at=now)
    verdict = Verdict(Status.SUCCEEDED, Outcome.COMPLETED, "Done.")
    assert services.finish(execution.pk, verdict, report=report, limits=LIMITS)


def recounted(owner: Client) -> int:
    storage.recount()
    return stored_bytes(owner)


def test_submission_counts_program_input_and_files(owner: Client, python_runtime: Runtime) -> None:
    submit(owner, python_runtime, stdin="é", files={"a": b"1" * 100, "b": b""})
    said = len("print()") + len("{}") + len("é".encode())
    assert stored_bytes(owner) == PER_EXECUTION + EMPTY + said + 2 * PER_FILE + 100
    assert recounted(owner) == stored_bytes(owner)


def test_end_counts_output_and_artifacts(owner: Client, python_runtime: Runtime) -> None:
    execution = submit(owner, python_runtime)
    before = stored_bytes(owner)
    finish(execution, b"x" * 200, (("a.png", b"1" * 5000),))
    assert stored_bytes(owner) - before == len("Done.") + 200 + PER_FILE + 5000
    assert recounted(owner) - before == len("Done.") + 200 + PER_FILE + 5000


def test_redacted_end_counts_what_is_left(owner: Client, python_runtime: Runtime) -> None:
    RedactionPattern.objects.all().delete()
    RedactionPattern.objects.create(name="x", regex="x+", replacement="")
    RetentionPolicy.objects.create(client=owner, redact=True)
    cache.forget()
    execution = submit(owner, python_runtime, stdin="x" * 300)
    finish(execution, b"x" * 200)
    cache.forget()
    assert Execution.objects.get().stdin == ""
    kept = stored_bytes(owner)
    assert kept < PER_EXECUTION + 200
    assert recounted(owner) == kept


@pytest.mark.parametrize("kind", ["code", "output", "artifacts", "metadata"])
def test_purge_gives_back_what_it_removes(owner: Client, make_execution: MakeExecution, kind: str) -> None:
    then = timezone.now() - timedelta(days=10)
    execution = make_execution(
        client=owner, queued_at=then, finished_at=then, stdin="i" * 100, stdout="o" * 100, artifact_count=1
    )
    InputFile.objects.create(execution=execution, path="a", content=b"1" * 100)
    Artifact.objects.create(execution=execution, name="a", content=b"1" * 100, size=100)
    sealing.seal()
    before = stored_bytes(owner)
    RetentionPolicy.objects.create(**{f"keep_{kind}_days": 1})
    assert list(purging.purge())
    after = stored_bytes(owner)
    assert before - after >= 100
    assert (after == 0) == (kind == "metadata")
    assert recounted(owner) == after


def test_runs_of_nobody_and_of_others_do_not_count(owner: Client, python_runtime: Runtime) -> None:
    finish(submit(None, python_runtime, files={"a": b"1"}), b"x", (("a", b"1"),))
    submit(Client.objects.create(name="other"), python_runtime)
    assert stored_bytes(owner) == 0
    assert StorageChange.objects.count() == 1


def test_submission_that_is_rolled_back_does_not_count(owner: Client, python_runtime: Runtime) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        submit(owner, python_runtime)
        raise ZeroDivisionError
    assert stored_bytes(owner) == 0


def test_adding_up_leaves_the_sum(owner: Client, make_execution: MakeExecution) -> None:
    make_execution(client=owner)
    counters.add_up()
    make_execution(client=owner)
    before = stored_bytes(owner)
    assert counters.add_up() == 1
    assert (stored_bytes(owner), StorageChange.objects.count()) == (before, 0)
    assert ClientStorage.objects.get().bytes == before


def test_changes_of_a_client_that_is_gone_are_dropped(db: None) -> None:
    StorageChange.objects.create(client_id=2**40, bytes=1)
    counters.add_up()
    assert (ClientStorage.objects.count(), StorageChange.objects.count()) == (0, 0)


def test_recount_corrects_the_figures(owner: Client, make_execution: MakeExecution) -> None:
    make_execution(client=owner)
    right = stored_bytes(owner)
    ClientStorage.objects.create(client=owner, bytes=10**9)
    StorageChange.objects.create(client_id=owner.pk, bytes=-5)
    out = StringIO()
    call_command("recount_storage", stdout=out)
    assert f"dify: {right} bytes" in out.getvalue()
    assert stored_bytes(owner) == right


def test_recounts_and_sums_while_programs_run_lose_nothing(
    transactional_db: None, python_runtime: Runtime
) -> None:
    owner = Client.objects.create(name="dify")
    stop = threading.Event()

    def closing(work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            connection.close()

    def disturb(what: Callable[[], object]) -> None:
        while not stop.is_set():
            what()

    def call() -> None:
        for _ in range(10):
            finish(submit(owner, python_runtime), b"x" * 100, (("a", b"1"),))

    with ThreadPoolExecutor(6) as pool:
        for what in (storage.recount, counters.add_up):
            pool.submit(closing, lambda what=what: disturb(what))
        calls = [pool.submit(closing, call) for _ in range(4)]
        try:
            for done in calls:
                done.result(60)
        finally:
            stop.set()
    kept = stored_bytes(owner)
    assert Execution.objects.count() == 40
    assert kept == recounted(owner) > 40 * PER_EXECUTION
