"""Bounds of a program's and its arguments' size. Each is a setting, which the refusal names."""

from django.conf import settings

from sandbox_platform.kit.errors import InvalidField
from sandbox_platform.kit.units import exact


class OverBound(InvalidField):
    """A field is larger than the setting allows."""

    def __init__(self, field: str, what: str, size: int, most: int, setting: str) -> None:
        super().__init__(
            field,
            f"{what} {size:,} bytes; the limit is {exact(most, 'bytes')} ({setting}).",
            "Send large data as files, or ask an administrator to raise the limit.",
        )


def refuse_large_program(code: str, field: str = "code") -> None:
    most = settings.SANDBOX_MAX_PROGRAM_BYTES
    if len(code) * 4 <= most:  # a character has at most four bytes
        return
    size = len(code.encode("utf-8", "surrogatepass"))
    if size > most:
        raise OverBound(field, "The program has", size, most, "SANDBOX_MAX_PROGRAM")


def refuse_large_arguments(text: str, field: str = "arguments") -> None:
    """`text`: JSON in ASCII."""
    most = settings.SANDBOX_MAX_ARGUMENTS_BYTES
    if len(text) > most:
        raise OverBound(field, "The arguments have, as JSON,", len(text), most, "SANDBOX_MAX_ARGUMENTS")
