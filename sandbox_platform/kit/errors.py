"""Refusals of a request, which every API renders in its own format: the problem, the field at fault and the remedy."""


class Refused(Exception):
    """A request was refused. The text, for people, is the detail and the remedy.

    `field` is the path of the field at fault, `remedy` is what the caller can do, `code` is a stable identifier, and
    `retry_after_s` is the number of seconds after which a retry may succeed.
    """

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        remedy: str | None = None,
        code: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail, self.field, self.remedy, self.code = detail, field, remedy, code
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.detail} {self.remedy or ''}".rstrip()


class InvalidField(Refused):
    """A field has an invalid value."""

    def __init__(self, field: str, detail: str, remedy: str | None = None) -> None:
        super().__init__(detail, field=field, remedy=remedy)


class Conflicting(Refused):
    """The request conflicts with the current state of its object."""


class TooMany(Refused):
    """A limit on the number of objects is reached. `retry_after_s` is always set."""


class NotAvailable(Refused):
    """A part of the platform that the request needs is unavailable or busy."""
