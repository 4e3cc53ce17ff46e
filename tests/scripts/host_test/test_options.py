import pytest

from scripts.host_test import __main__ as command
from scripts.host_test import steps
from scripts.host_test.steps import FAILED, INTERRUPTED, NOT_TRIED, OK, Outcome


def test_without_arguments_everything_is_tried():
    options = command.parse([])
    assert (options.accel, options.steps, options.hand_over) == ("auto", list(steps.NAMES), [])
    assert not (options.keep or options.write)


def test_steps_are_named_with_commas():
    assert command.parse(["--steps", "doctor,limits"]).steps == ["doctor", "limits"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--steps", "doctor,lunch"],
        ["--memory", "0"],
        ["--cpus", "0"],
        ["--accel", "xen"],
        ["--hand-over", "docker"],
    ],
)
def test_nonsense_is_refused(arguments: list[str]):
    with pytest.raises(SystemExit):
        command.parse(arguments)


def test_a_step_brings_what_it_needs_in_order():
    assert [step.name for step in steps.select(["limits", "doctor"])] == ["boot", "make", "doctor", "limits"]
    assert [step.name for step in steps.select(["back"])] == ["boot", "make", "reboot", "back"]


def test_images_are_loaded_before_make_only():
    assert [step.name for step in steps.select(["make"], load="true")] == ["boot", "load", "make"]
    assert [step.name for step in steps.select(["system"], load="true")] == ["boot", "system"]


@pytest.mark.parametrize(
    ("found", "status"),
    [([OK], 0), ([OK, FAILED, NOT_TRIED], 1), ([OK, INTERRUPTED, NOT_TRIED], 130)],
)
def test_exit_status(found: list[str], status: int):
    assert command.exit_status([Outcome("a", "A", one) for one in found]) == status


@pytest.mark.parametrize("keep", [True, False])
def test_the_guests_files_are_removed_unless_kept(tmp_path, keep: bool):
    with pytest.raises(KeyboardInterrupt), command.working_folder(tmp_path / "guest", keep) as folder:
        (folder / "disk.raw").touch()
        raise KeyboardInterrupt
    assert (tmp_path / "guest/disk.raw").exists() is keep
