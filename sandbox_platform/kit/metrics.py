"""Figures that `/metrics` exports. Each app declares those of its room in a module named `metrics`.

They are read at each scrape, so they must be cheap whatever the history holds: current rows by a partial index, single
rows, and sums that somebody keeps. What adds up over time is counted by events instead (metrics/counting.py).

No label may have values without a bound: runtimes, nodes, states and roles may be labels; clients, executions, hosts
and addresses may not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from django.utils.module_loading import autodiscover_modules

PREFIX = "sandbox_"


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"  # never goes down; its name ends in _total


@dataclass(frozen=True)
class Figure:
    """`name`: without PREFIX; the unit is its last word (seconds, bytes), before `total`."""

    name: str
    help_text: str
    labels: tuple[str, ...] = ()
    kind: Kind = Kind.GAUGE


class Value(NamedTuple):
    """`figure`: the name. `labels`: in the order of the figure's."""

    figure: str
    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """Figures of a room, with the function that reads all of them."""

    figures: tuple[Figure, ...]
    read: Callable[[], Iterable[Value]]


_declared: list[Reading] = []


def declare(reading: Reading) -> Reading:
    names = {figure.name for figure in reading.figures}
    for other in _declared:
        if other != reading and (twice := names & {figure.name for figure in other.figures}):
            raise ValueError(f"two figures are named {', '.join(sorted(twice))}")
    if reading not in _declared:
        _declared.append(reading)
    return reading


def declared() -> list[Reading]:
    """Return the readings of all apps, in the order of INSTALLED_APPS."""
    _discover()
    return list(_declared)


@cache
def _discover() -> None:
    autodiscover_modules("metrics")
