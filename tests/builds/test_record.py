import pytest
from django.utils import timezone
from pytest_django import Settings

from builds import record as module
from builds import tasks
from builds.models import BuildState, RuntimeBuild
from builds.record import BuildFailed, Cancelled, Lost, Record

pytestmark = pytest.mark.django_db


@pytest.fixture
def record(build: RuntimeBuild) -> Record:
    taken = tasks.take(build.pk)
    assert taken
    return Record(taken)


def log(build: RuntimeBuild) -> str:
    build.refresh_from_db()
    return build.log


def test_lines_and_steps_are_written(build: RuntimeBuild, record: Record) -> None:
    record.step("apt")
    record.line("Unpacking jq")
    record.beat(now=True)
    assert log(build) == "== apt\nUnpacking jq\n"
    assert build.progress == "apt"


def test_password_in_an_address_is_not_written(build: RuntimeBuild, record: Record) -> None:
    record.line("Looking in indexes: https://me:secret@mirror.example/simple")
    record.beat(now=True)
    assert log(build) == "Looking in indexes: https://***@mirror.example/simple\n"


def test_hidden_secrets_are_not_written(build: RuntimeBuild, record: Record) -> None:
    record.hide(("npm-token-1",))
    record.line("sent Bearer npm-token-1")
    record.beat(now=True)
    assert log(build) == "sent Bearer ***\n"
    assert list(record.last_lines) == ["sent Bearer ***"]


def test_log_is_bounded(build: RuntimeBuild, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOG", 1000)
    for number in range(500):
        record.line(f"line {number}")
        record.beat(now=number % 50 == 0)
    assert len(log(build)) < 1100
    assert build.log.endswith("(truncated)\n")
    assert record.last_lines[-1] == "line 499"


def test_what_postgres_cannot_hold_is_no_fault(build: RuntimeBuild, record: Record) -> None:
    record.line("a\0b")
    record.beat(now=True)
    assert log(build) == "a\ufffdb\n"


def test_cancellation_is_heard(build: RuntimeBuild, record: Record) -> None:
    RuntimeBuild.objects.filter(pk=build.pk).update(cancel_requested_at=timezone.now())
    with pytest.raises(Cancelled):
        record.beat(now=True)


def test_build_that_somebody_ended_is_lost(build: RuntimeBuild, record: Record) -> None:
    RuntimeBuild.objects.filter(pk=build.pk).update(state=BuildState.FAILED)
    with pytest.raises(Lost):
        record.beat(now=True)


def test_build_ends_when_its_time_is_up(build: RuntimeBuild, settings: Settings) -> None:
    settings.SANDBOX_BUILD_TIMEOUT_MS = 0
    taken = tasks.take(build.pk)
    assert taken
    with pytest.raises(BuildFailed, match="SANDBOX_BUILD_TIMEOUT"):
        Record(taken).step("apt")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["E: Unable to locate package nix", "more"], "E: Unable to locate package nix"),
        (["ERROR: no", "ERROR: No matching distribution found"], "ERROR: No matching distribution found"),
        (["npm error code E404", "npm error 404  'x@*' is not in it"], "npm error 404  'x@*' is not in it"),
        (["ERROR: pip: this image has no python3"], "ERROR: pip: this image has no python3"),
        (["one", "two"], "one\ntwo"),
        ([], ""),
    ],
)  # fmt: skip
def test_installers_say_why(record: Record, lines: list[str], why: str) -> None:
    for line in lines:
        record.line(line)
    assert record.failure_reason() == why
