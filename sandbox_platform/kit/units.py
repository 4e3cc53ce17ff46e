"""Bytes and milliseconds, as people read and write them."""

import re
from decimal import Decimal

_BYTES = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("bytes", 1))
_MILLISECONDS = (("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))

# As they are written, in lower case. "MB" is not among them: to some it is a million, to others 2^20.
_SPELT = {
    "bytes": {"": 1, "b": 1, "byte": 1, "bytes": 1, "k": 1024, "kib": 1024}
    | {"m": 1024**2, "mib": 1024**2, "g": 1024**3, "gib": 1024**3},
    "ms": {"": 1, "ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000},
}
_OFFERED = {"bytes": "bytes, KiB, MiB or GiB", "ms": "ms, s, min or h"}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]{0,5})")


def format_bytes(value: float) -> str:
    return _format(value, _BYTES)


def format_ms(value: float) -> str:
    return _format(value, _MILLISECONDS)


def _format(value: float, units: tuple[tuple[str, int], ...]) -> str:
    unit, size = next((pair for pair in units if value >= pair[1]), units[-1])
    # The smallest unit measures, and rarely to a hundredth of itself.
    return f"{round(value / size, 1 if size == 1 else 2):g} {unit}"


def exact(value: int, unit: str) -> str:
    """In the largest unit of which it is a whole number: parse() makes the same value of it."""
    units = _BYTES if unit == "bytes" else _MILLISECONDS
    name, size = next(pair for pair in units if pair[1] == 1 or value and value % pair[1] == 0)
    return f"{value // size} {name}"


def parse(text: str, unit: str) -> int:
    """Bytes of ``256 MiB``, or milliseconds of ``1.5 s``; without a unit it is bytes or ms. Raises ValueError."""
    match = _QUANTITY.fullmatch(text.strip())
    size = _SPELT[unit].get(match[2].lower()) if match else None
    if match is None or size is None:
        raise ValueError(f"Write a number and {_OFFERED[unit]}.")
    value = Decimal(match[1]) * size
    if value != int(value):
        raise ValueError(f"That is no whole number of {unit}.")
    return int(value)
