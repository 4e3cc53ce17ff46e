"""Refusals of a request that every door can render: each names what is wrong, the field at fault and the remedy."""


class Refused(Exception):
    """`field`: path of the field at fault; `remedy`: what the caller can do; `code`: a stable identifier;
    `retry_after_s`: when to try again. Its text, for people, is the detail and the remedy."""

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
    """One field has a value that cannot be used."""

    def __init__(self, field: str, detail: str, remedy: str | None = None) -> None:
        super().__init__(detail, field=field, remedy=remedy)


class Conflicting(Refused):
    """The request contradicts the present state of what it is about."""


class TooMany(Refused):
    """There are as many as there may be; `retry_after_s` is always set."""


class NotAvailable(Refused):
    """A part of the platform that the request needs does not answer, or is busy."""
