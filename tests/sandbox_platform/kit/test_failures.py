from sandbox_platform.kit.failures import without_text


def fail(text: str) -> None:
    raise ValueError(text)


def test_type_and_place_are_told_and_the_text_is_not() -> None:
    try:
        fail("a program" + " of somebody's")
    except ValueError as e:
        told = without_text(e)
    assert told.startswith("ValueError\n")
    assert "in fail" in told
    assert "a program of" not in told
