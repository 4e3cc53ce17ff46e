import pytest

from inspections import telling
from tests.inspections.facts import facts


def told(**changed: object) -> dict[str, str]:
    return {row.label: row.value for group in telling.groups(facts() | changed) for row in group.rows}


def notes(**changed: object) -> dict[str, str]:
    return {row.label: row.note for group in telling.groups(facts() | changed) for row in group.rows}


def test_facts_are_told_in_words() -> None:
    rows = told()
    assert rows["Version"] == "Python 3.13.5"
    assert rows["User"] == "nobody (uid 65534, gid 65534)"
    assert (rows["Memory"], rows["Largest file"], rows["Wall time"]) == ("256 MiB", "100 MiB", "10 s")
    assert rows["Locale"] == "C.UTF-8"


def test_a_folder_below_a_writable_one_is_not_named() -> None:
    assert facts()["written"] == ["/home/nobody", "/tmp"]


def test_a_writable_folder_has_the_size_of_its_mount() -> None:
    (row,) = [row for group in telling.groups(facts()) for row in group.rows if row.items]
    assert row.items == (("/home/nobody", ""), ("/tmp", "50 MiB in memory"))


def test_compilation_has_limits_only_where_there_is_one() -> None:
    assert "Compilation" not in told()
    assert told(compiles=True)["Compilation"] == "30 s, CPU 30 s"


def test_a_profile_under_which_nothing_could_be_collected_says_so() -> None:
    assert notes()["Seccomp profile"] == ""
    assert "collected under unconfined" in notes(collected_under="unconfined")["Seccomp profile"]


def test_unknown_facts_have_no_row() -> None:
    assert "Operating system" not in told(os="")
    assert told(version="")["Version"] == "unknown"


def test_what_the_image_does_not_decide_is_marked_as_this_machine_s() -> None:
    rows = [row for group in telling.groups(facts()) for row in group.rows if row.of_this_machine]
    assert [row.label for row in rows] == ["Kernel", "Visible cores"]


@pytest.mark.parametrize(
    ("option", "size"), [("50m", 50 * 2**20), (1024, 1024), ("2g", 2**31), ("50%", 0), ("", 0)]
)
def test_sizes_of_mounts_are_read(option: str | int, size: int) -> None:
    assert telling.size_of(option) == size
