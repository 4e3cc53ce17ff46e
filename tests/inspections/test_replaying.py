from inspections.replaying import replay


def test_a_dry_run_of_nothing_says_so() -> None:
    assert replay([], None)["summary"].startswith("Nothing to run again")
