"""What the runner needs of `json` and `contextlib`, without loading them.

With all that they import (re, enum, functools, collections), both take as long to load in gVisor as two interpreters
take to start, and every sandbox would pay for it.
"""

from _json import encode_basestring_ascii, make_encoder, make_scanner


class suppress:  # noqa: N801 - the name that it has in contextlib
    """Do what contextlib.suppress does."""

    def __init__(self, *exceptions):
        self.exceptions = exceptions

    def __enter__(self):
        pass

    def __exit__(self, kind, _error, _traceback):
        return kind is not None and issubclass(kind, self.exceptions)


class _Decoder:
    """json.JSONDecoder as its C scanner reads it."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float  # NaN, Infinity and -Infinity


_scan = make_scanner(_Decoder)


def loads(text):
    """Do what json.loads does with a text, or UTF-8, that has nothing before its value."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogatepass")
    try:
        value, end = _scan(text, 0)
    except StopIteration as e:
        raise ValueError(f"no JSON value at character {e.value}") from None
    if text[end:].strip():
        raise ValueError(f"data after the JSON value, at character {end}")
    return value


def dumps(value):
    """Do what json.dumps does with `separators=(",", ":")`."""
    encode = make_encoder({}, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)
    return "".join(encode(value, 0))


def _refuse(value):
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
