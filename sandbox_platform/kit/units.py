"""Format and parse bytes and milliseconds with their units."""

import re
from decimal import Decimal

_BYTES = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("bytes", 1))
_MILLISECONDS = (("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))
_MINUTE = 60_000

# Accepted units, in lower case. "MB" is missing because it is ambiguous: 10^6 or 2^20 bytes.
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
    """Format milliseconds: ``12.5 ms``, ``1.25 s``, ``10 min 16 s``, ``1 h 30 min``."""
    if value < _MINUTE:
        return _format(value, _MILLISECONDS)
    minutes, seconds = divmod(round(value / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    # Seconds do not matter after an hour.
    parts = ((hours, "h"), (minutes, "min"), (0 if hours else seconds, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def _format(value: float, units: tuple[tuple[str, int], ...]) -> str:
    unit, size = next((pair for pair in units if value >= pair[1]), units[-1])
    # The smallest unit gets one decimal: measurements are rarely more precise.
    return f"{round(value / size, 1 if size == 1 else 2):g} {unit}"


def exact(value: int, unit: str) -> str:
    """Format the value in the largest unit that divides it, so that parse() returns the same value."""
    units = _BYTES if unit == "bytes" else _MILLISECONDS
    name, size = next(pair for pair in units if pair[1] == 1 or value and value % pair[1] == 0)
    return f"{value // size} {name}"


def unit_of(name: str) -> str:
    """Return the unit that the name of a field ends with, "bytes" or "ms", else ""."""
    return next((unit for unit in _OFFERED if name.endswith(f"_{unit}")), "")


def exact_of(name: str, value: float) -> str:
    """Format the value of the field exactly, in the unit that its name ends with, if any."""
    unit = unit_of(name)
    return exact(value, unit) if unit and isinstance(value, int) else str(value)


def parse(text: str, unit: str) -> int:
    """Return the bytes of ``256 MiB``, or the milliseconds of ``1.5 s``. The default unit is bytes or ms.

    Raises ValueError.
    """
    match = _QUANTITY.fullmatch(text.strip())
    size = _SPELT[unit].get(match[2].lower()) if match else None
    if match is None or size is None:
        raise ValueError(f"Write a number and {_OFFERED[unit]}.")
    value = Decimal(match[1]) * size
    if value != int(value):
        raise ValueError(f"This is not a whole number of {unit}.")
    return int(value)
