"""Bytes and milliseconds, as people read them."""

_BYTES = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("bytes", 1))
_MILLISECONDS = (("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))


def format_bytes(value: float) -> str:
    return _format(value, _BYTES)


def format_ms(value: float) -> str:
    return _format(value, _MILLISECONDS)


def _format(value: float, units: tuple[tuple[str, int], ...]) -> str:
    unit, size = next((pair for pair in units if value >= pair[1]), units[-1])
    # The smallest unit measures, and rarely to a hundredth of itself.
    return f"{round(value / size, 1 if size == 1 else 2):g} {unit}"
