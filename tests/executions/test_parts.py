from uuid import UUID

from executions.parts import Part, bounds

FEBRUARY, MARCH, APRIL = (UUID(int=number << 80) for number in (2, 3, 4))
PARTS = [
    Part("january", None, FEBRUARY),
    Part("february", FEBRUARY, MARCH),
    Part("march", MARCH, APRIL),
    Part("rest", None, None),
]


def moved(pk: UUID, by: int) -> UUID:
    return UUID(int=pk.int + by)


def test_without_partitions_nothing_is_left_out():
    assert bounds([], FEBRUARY, MARCH) == {}


def test_a_span_within_a_month_leaves_that_month_whole():
    assert bounds(PARTS, moved(FEBRUARY, 5), moved(MARCH, -1)) == {"pk__gte": FEBRUARY, "pk__lt": MARCH}
    assert bounds(PARTS, FEBRUARY, FEBRUARY) == {"pk__gte": FEBRUARY, "pk__lt": MARCH}


def test_a_span_over_months_leaves_all_of_them():
    assert bounds(PARTS, moved(FEBRUARY, 5), MARCH) == {"pk__gte": FEBRUARY, "pk__lt": APRIL}


def test_the_first_partition_has_no_low_end():
    assert bounds(PARTS, moved(FEBRUARY, -5), FEBRUARY) == {"pk__lt": MARCH}


def test_what_is_beyond_the_last_month_is_not_left_out():
    assert bounds(PARTS, moved(MARCH, 5), APRIL) == {"pk__gte": MARCH}
    assert bounds(PARTS, moved(APRIL, 5), moved(APRIL, 9)) == {}


def test_what_is_before_the_first_month_is_not_left_out():
    dropped = PARTS[1:]
    assert bounds(dropped, moved(FEBRUARY, -5), FEBRUARY) == {"pk__lt": MARCH}
    assert bounds(dropped, moved(FEBRUARY, -5), moved(FEBRUARY, -1)) == {}
