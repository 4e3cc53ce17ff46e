"""Usage as CSV. Quantities are in the units in which people calculate and prices are set."""

from collections.abc import Iterator

from sandbox_platform.kit.exports import csv_lines
from usage.figures import GROUPS, Row
from usage.models.price import GIB
from usage.refusals import Kind

COLUMNS = (
    "runs", "rejected", "cpu_seconds", "memory_gib_seconds", "egress_bytes", "stored_bytes", "stored_gib_days",
    "refused", *(f"refused_{kind}" for kind in Kind), "runs_per_day_quota", "busiest_day_runs", "stored_bytes_quota",
)  # fmt: skip


def csv(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of a CSV file: a line for each row, with a column `cost_…` for each currency."""
    currencies = sorted({currency for row in rows for currency in row.costs})
    header = [*GROUPS, *COLUMNS, *(f"cost_{currency}" for currency in currencies)]
    yield from csv_lines(header, (_line(row, currencies) for row in rows))


def _line(row: Row, currencies: list[str]) -> list[object]:
    stored_days = None if row.stored_byte_hours is None else round(row.stored_byte_hours / 24 / GIB, 6)
    return [
        row.day,
        row.client,
        row.runtime,
        row.runs,
        row.rejected,
        row.cpu_ms / 1000,
        round(row.memory_byte_seconds / GIB, 6),
        row.egress_bytes,
        row.stored_bytes,
        stored_days,
        row.refusals,
        *(row.refused.get(kind.value, 0) for kind in Kind),
        row.daily_quota,
        row.busiest_day_runs,
        row.stored_quota,
        *(f"{row.costs.get(currency, 0):.6f}" for currency in currencies),
    ]
