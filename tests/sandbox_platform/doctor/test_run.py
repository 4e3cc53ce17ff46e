import json
from collections.abc import Callable, Iterator
from io import StringIO

import pytest
from django.core.management import call_command

from sandbox_platform.doctor import Check, Status
from sandbox_platform.doctor.check import broken, ok, warning
from sandbox_platform.doctor.run import run

OK, WARNING, BROKEN = ok("disk", "fine"), warning("pool", "low", "wait"), broken("queue", "dead", "start it")


@pytest.fixture
def doctor(db: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, int]]:
    """Runs the command with these findings; what it printed and its exit status."""

    def doctor(*checks: Check, **options: bool) -> tuple[str, int]:
        def run_all() -> Iterator[Check]:
            yield from checks

        monkeypatch.setattr("sandbox_platform.management.commands.doctor.run_all", run_all)
        output, status = StringIO(), 0
        try:
            call_command("doctor", stdout=output, no_color=True, **options)
        except SystemExit as e:
            status = int(e.code or 0)
        return output.getvalue(), status

    return doctor


def test_doctor_prints_a_line_each_with_the_fix(doctor) -> None:
    output, _ = doctor(OK, WARNING, BROKEN)
    lines = output.splitlines()
    assert lines[0].split() == ["ok", "disk", "fine"]
    assert lines[1].split() == ["warning", "pool", "low"]
    assert lines[2].split() == ["→", "wait"]
    assert lines[3].split() == ["broken", "queue", "dead"]


@pytest.mark.parametrize(("checks", "status"), [((OK,), 0), ((OK, WARNING), 0), ((OK, BROKEN, OK), 1)])
def test_doctor_exit_status_tells_what_is_broken(doctor, checks: tuple[Check, ...], status: int) -> None:
    assert doctor(*checks)[1] == status


def test_doctor_json(doctor) -> None:
    output, status = doctor(OK, BROKEN, json=True)
    assert json.loads(output)[1] == {"name": "queue", "status": "broken", "detail": "dead", "fix": "start it"}
    assert status == 1


def test_check_that_fails_is_a_finding() -> None:
    def check(name: str) -> Check:
        raise OSError("no such thing\nsecond line")

    found = run("disk", check)
    assert (found.name, found.status) == ("disk", Status.BROKEN)
    assert found.detail.endswith("OSError: no such thing")
