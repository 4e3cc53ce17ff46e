from sandbox_platform.kit.web.turns import Turns


def test_a_caller_has_so_many_turns_at_once() -> None:
    turns = Turns[str](2)
    assert [turns.take(request, "a") for request in ("a1", "a2", "a3")] == [True, True, False]
    assert turns.take("b1", "b")
    assert (turns.waiting("a"), turns.waiting("b")) == (1, 0)


def test_turns_come_in_order() -> None:
    turns = Turns[str](1)
    for request in ("a1", "a2", "a3"):
        turns.take(request, "a")
    assert [turns.end("a1"), turns.end("a2"), turns.end("a3")] == ["a2", "a3", None]
    assert turns.take("a4", "a")


def test_a_turn_ends_once() -> None:
    turns = Turns[str](1)
    for request in ("a1", "a2", "a3"):
        turns.take(request, "a")
    assert turns.end("a1") == "a2"
    assert turns.end("a1") is None
    assert turns.waiting("a") == 1
