"""Refusals of a request that every door can render: each names what is wrong, the field at fault and the remedy."""


class Refused(Exception):
    """`field`: path of the field at fault; `remedy`: what the caller can do; `code`: a stable identifier."""

    def __init__(
        self, detail: str, *, field: str | None = None, remedy: str | None = None, code: str = ""
    ) -> None:
        super().__init__(detail)
        self.detail, self.field, self.remedy, self.code = detail, field, remedy, code


class InvalidField(Refused):
    """One field has a value that cannot be used."""

    def __init__(self, field: str, detail: str, remedy: str | None = None) -> None:
        super().__init__(detail, field=field, remedy=remedy)


class Conflicting(Refused):
    """The request contradicts the present state of what it is about."""


class NotAvailable(Refused):
    """A part of the platform that the request needs does not answer."""
