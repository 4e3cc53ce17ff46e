import pytest
from pytest_django import Settings

from executions import places
from executions.places import Places
from sandbox_platform.kit.web.worker import AT_ONCE


def taken(of: Places, client_id: int) -> int:
    """Take places for the client until it gets no more."""
    number = 0
    while of.take(client_id):
        number += 1
    return number


def test_one_client_cannot_take_all_places() -> None:
    assert taken(Places(64, share=7), 1) == 56
    assert taken(Places(2, share=1), 1) == 1
    assert taken(Places(4, share=7), 1) == 3  # of a process with eight threads


def test_a_client_that_needs_few_finds_some_beside_clients_that_ask_for_all_they_can_get() -> None:
    waits = Places(64, share=7)
    taken(waits, 1)
    # Each place that is given back is asked for by both.
    for _ in range(200):
        waits.give_back(1)
        waits.take(2)
        waits.take(1)
    assert taken(waits, 3) >= 3


def test_two_clients_that_ask_for_all_they_can_get_have_nearly_equal_parts() -> None:
    waits = Places(64, share=7)
    taken(waits, 1)
    held = [56, 0]
    for turn in range(200):
        if held[turn % 2]:
            waits.give_back(turn % 2 + 1)
            held[turn % 2] -= 1
        for client in (1, 2):
            held[client - 1] += waits.take(client)
    assert held[0] == pytest.approx(held[1], abs=7)


def test_a_place_is_taken_again_when_it_was_given_back() -> None:
    one = Places(1, share=1)
    assert [one.take(1), one.take(1)] == [True, False]
    one.give_back(1)
    assert one.take(1)


def test_some_threads_wait_for_nobody() -> None:
    assert places.streams._most + places.waits._most <= places.THREADS * 7 // 8


def test_who_queues_gets_the_place_that_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Places(1, share=1)
    monkeypatch.setattr(places, "waits", one)
    assert one.take(1)
    looks: list[None] = []

    def gave_up() -> bool:
        looks.append(None)
        one.give_back(1)
        return False

    monkeypatch.setattr(places, "LOOK_S", 0)
    with places.soon_held(2, gave_up) as held:
        assert (held, len(looks)) == (True, 1)
        assert not one.take(1)
    assert one.take(1)


def test_who_waits_for_a_large_page_gets_the_place_that_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Places(1, share=1)
    monkeypatch.setattr(places, "pages", one)
    monkeypatch.setattr(places, "LOOK_S", 0)
    assert one.take(1)

    def gave_up() -> bool:
        one.give_back(1)
        return False

    places.PageOf(2).reading(places.LARGE_PAGE_BYTES - 1)
    with pytest.raises(places.TooManyLargePages):
        places.PageOf(2).reading(places.LARGE_PAGE_BYTES)
    # However many requests wait for a run's place: a refusal would lose the run.
    monkeypatch.setattr(places, "queued", full := Places(1, share=1))
    assert full.take(None)
    page = places.PageOf(2)
    page.reading(places.LARGE_PAGE_BYTES, gave_up)
    assert not one.take(1)
    del page
    assert one.take(1)


def test_larger_answers_need_more_places() -> None:
    pages = Places(6, share=2)
    assert pages.take(1, 4)
    assert not pages.take(2, 3)
    assert pages.take(2, 2)
    pages.give_back(1, 4)
    pages.give_back(2, 2)
    assert taken(pages, 1) == 4


def test_no_answer_needs_all_places() -> None:
    pages = Places(6, share=2)
    assert pages.take(1, 100)
    assert [pages.take(2), pages.take(2)] == [True, False]
    pages.give_back(1, 100)
    assert pages.take(3, 4)


def test_page_takes_places_by_its_size(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.SANDBOX_MAX_PAGE_BYTES = 2 * places.LARGE_PAGE_BYTES
    monkeypatch.setattr(places, "pages", pages := Places(6, share=2))
    page = places.PageOf(1)
    page.reading(7 * places.LARGE_PAGE_BYTES)
    assert not pages.take(2, 3)
    assert pages.take(2, 2)
    pages.give_back(2, 2)
    del page
    assert pages.take(2, 3)


def test_who_gives_up_has_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Places(1, share=1)
    monkeypatch.setattr(places, "waits", one)
    monkeypatch.setattr(places, "LOOK_S", 0)
    assert one.take(1)
    with places.soon_held(2, lambda: True) as held:
        assert not held
    assert not places.queued._held


def test_few_queue_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Places(1, share=1)
    monkeypatch.setattr(places, "waits", full)
    monkeypatch.setattr(places, "queued", Places(8, share=1))
    full.take(1)
    assert taken(places.queued, 2) == AT_ONCE
    with places.soon_held(2, lambda: pytest.fail("it queues")) as held:
        assert not held
