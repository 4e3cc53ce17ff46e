"""Refusals of a request, which every API renders in its own format: the problem, the field at fault and the remedy."""


class Refused(Exception):
    """A request was refused.

    `field` is the path of the field at fault, `remedy` is what the caller can do, `code` is a stable identifier.
    """

    def __init__(
        self, detail: str, *, field: str | None = None, remedy: str | None = None, code: str = ""
    ) -> None:
        super().__init__(detail)
        self.detail, self.field, self.remedy, self.code = detail, field, remedy, code


class InvalidField(Refused):
    """A field has an invalid value."""

    def __init__(self, field: str, detail: str, remedy: str | None = None) -> None:
        super().__init__(detail, field=field, remedy=remedy)


class Conflicting(Refused):
    """The request conflicts with the current state of its object."""


class NotAvailable(Refused):
    """A part of the platform that the request needs is unavailable."""
