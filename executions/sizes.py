"""Divides executions into groups whose large columns fit in memory."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import BigIntegerField, F, Func, TextField
from django.db.models.functions import Cast, Coalesce

from executions.models import Execution


class Bytes(Func):
    """The length of a text in bytes, which Postgres knows without reading the text itself."""

    function = "octet_length"
    output_field = BigIntegerField()


def groups(ids: Sequence[UUID], columns: Sequence[str]) -> Iterator[tuple[list[UUID], int]]:
    """Yield the ids in order, in groups whose `columns` have at most SANDBOX_MAX_PAGE bytes, or of one id.

    With each group comes the number of its bytes.
    """
    sizes = _sizes(ids, columns)
    group: list[UUID] = []
    used = 0
    for pk in ids:
        size = sizes.get(pk, 0)
        if group and used + size > settings.SANDBOX_MAX_PAGE_BYTES:
            yield group, used
            group, used = [], 0
        group.append(pk)
        used += size
    if group:
        yield group, used


def _sizes(ids: Sequence[UUID], columns: Sequence[str]) -> dict[UUID, int]:
    total: Any = sum(Coalesce(Bytes(Cast(F(column), TextField())), 0) for column in columns)
    return dict(Execution.objects.filter(pk__in=ids).annotate(size=total).values_list("pk", "size"))
