import random
from collections.abc import Iterator

import pytest

from fuzzing.bites import Bites, any_json
from fuzzing.targets import TARGETS

MUTATIONS = 40  # of each seed; `make fuzz` tries millions


def mutated(seed: bytes, source: random.Random) -> Iterator[bytes]:
    yield seed
    for number in range(MUTATIONS):
        data = bytearray(seed)
        for _ in range(1 + number % 8):
            at = source.randrange(len(data) + 1)
            more = source.randbytes(source.randrange(9))
            data[at : at + source.randrange(9)] = more
        yield bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds_for_its_seeds_and_what_is_close_to_them(name: str) -> None:
    source = random.Random(1)
    for seed in TARGETS[name].seeds:
        for data in mutated(seed, source):
            TARGETS[name].function(data)


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_seeds(name: str) -> None:
    assert all(isinstance(seed, bytes) for seed in TARGETS[name].seeds) and TARGETS[name].seeds


def test_same_bytes_give_the_same_value() -> None:
    data = bytes(range(256))
    assert Bites(data, ("a", "b")).value() == Bites(data, ("a", "b")).value()


def test_json_is_taken_as_it_is() -> None:
    assert any_json(b'{"a": [1]}', ()) == {"a": [1]}
