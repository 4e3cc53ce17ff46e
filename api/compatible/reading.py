"""Reads values that several formats have: numbers, which each of them bounds and words by itself, and base64."""

import base64
import math
from typing import Any


def number(value: Any, *, in_text: bool = False) -> float:
    """Return the finite number, which may be a text with `in_text`; NaN for any other value."""
    kinds = (int, float, str) if in_text else (int, float)
    try:
        found = float(value) if isinstance(value, kinds) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def unbase64(text: str) -> bytes:
    """Return the bytes of a text in base64. Encoders break lines, and leave the padding out. Raises ValueError."""
    compact = "".join(text.split()).rstrip("=").encode("ascii")
    return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
