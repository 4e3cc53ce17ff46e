from pathlib import Path

from scripts.host_test.guest import Done, Guest
from scripts.host_test.steps import FAILED, INTERRUPTED, NOT_TRIED, OK, Step, run_all


def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path, "tcg", 512, 1, port=1)


def step(name: str, status: int = 0, *needs: str) -> Step:
    return Step(name, name, 10, lambda _guest, _limit: Done(status, f"{name} wrote"), needs)


def test_a_step_whose_condition_failed_is_not_tried(tmp_path):
    chosen = [step("boot"), step("make", 2, "boot"), step("smoke", 0, "make"), step("reboot", 0, "boot")]
    found = [*run_all(guest(tmp_path), chosen)]
    assert [one.status for one in found] == [OK, FAILED, NOT_TRIED, OK]
    assert found[1].output == "make wrote"


def test_an_interrupted_step_leaves_what_it_wrote_and_ends_the_list(tmp_path):
    def interrupted(_guest: Guest, _limit_s: float) -> Done:
        (tmp_path / "step.log").write_text("half of it\n")
        raise KeyboardInterrupt

    chosen = [step("boot"), Step("make", "make", 10, interrupted, ("boot",)), step("reboot", 0, "boot")]
    found = [*run_all(guest(tmp_path), chosen)]
    assert [one.status for one in found] == [OK, INTERRUPTED, NOT_TRIED]
    assert found[1].output == "half of it\n"


def test_limits_are_multiplied(tmp_path):
    limits = []
    one = Step("boot", "boot", 10, lambda _guest, limit_s: limits.append(limit_s) or Done(0, ""))
    assert [*run_all(guest(tmp_path), [one], 3)][0].status == OK
    assert limits == [30]


def test_the_guest_dies_with_the_test_and_only_this_machine_reaches_it(tmp_path):
    line = guest(tmp_path).command()
    assert line[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert "user,id=net,hostfwd=tcp:127.0.0.1:1-:22" in line
