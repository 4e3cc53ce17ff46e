from seccomp_profiles.rules import ACTION_WORDS
from seccomp_profiles.syscalls import RECENT, describe, known, table


def test_table_has_what_gvisor_knows() -> None:
    # `runsc help syscalls` of release 20260905 lists as many, and of release 20240729 all but the recent ones.
    assert (len(known()), known() >= RECENT) == (352, True)


def test_every_call_is_described() -> None:
    assert [name for name, call in table().items() if not call.description] == []


def test_call_of_another_architecture_is_told_apart() -> None:
    assert table()["mkdir"].architectures == ("amd64",)
    assert table()["stat64"].known is False


def test_name_that_is_no_call_has_no_description() -> None:
    assert describe("SCMP_ACT_ALLOW") == "" != ACTION_WORDS["SCMP_ACT_ALLOW"]
