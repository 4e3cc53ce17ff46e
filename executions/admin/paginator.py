from typing import Any, cast

from django.db import connection
from django.db.models import Model, QuerySet
from django.utils.functional import cached_property

from sandbox_platform.kit.generics import Paginator


class EstimatingPaginator(Paginator[Any]):
    """Counts up to COUNTED rows; beyond that it uses Postgres's estimate of the table's rows.

    An exact count of millions of rows takes longer than everything else on the page.
    """

    COUNTED = 10_000

    @cached_property
    def count(self) -> int:
        rows = cast(QuerySet[Any], self.object_list)
        counted = rows.order_by()[: self.COUNTED].count()
        if counted < self.COUNTED or rows.query.where:
            return counted
        return max(counted, self._estimate(rows.model))

    def _estimate(self, model: type[Model]) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                # Of a table, or of its partitions.
                "SELECT sum(greatest(reltuples, 0))::bigint FROM pg_class WHERE relkind = 'r'"
                " AND (oid = %(table)s::regclass"
                " OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %(table)s::regclass))",
                {"table": model._meta.db_table},
            )
            estimate: int = cursor.fetchone()[0]
        return estimate
