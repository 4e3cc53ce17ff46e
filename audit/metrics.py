"""Figures of the history's seals."""

from collections.abc import Iterator

from audit.models import HeadDestination, Pending, Seal, SealingFailure
from sandbox_platform.kit.metrics import Figure, Kind, Reading, Value, declare

# Beyond, counting would cost more than the number says.
MOST_COUNTED = 100_000
FIGURES = (
    Figure("seals_total", "Seals of the history.", kind=Kind.COUNTER),
    Figure("seal_timestamp_seconds", "When the last seal was made."),
    Figure("unsealed_rows", f"Rows that wait for a seal, up to {MOST_COUNTED:,}."),
    Figure("sealing_failures", "Nodes that cannot seal."),
    Figure("seal_heads_behind", "Seals whose head has not reached a destination.", ("destination",)),
)


def read() -> Iterator[Value]:
    last = Seal.objects.order_by("-sequence").only("sequence", "created_at").first()
    yield Value("seals_total", last.sequence if last else 0)
    if last:
        yield Value("seal_timestamp_seconds", last.created_at.timestamp())
    yield Value("unsealed_rows", Pending.objects.order_by()[:MOST_COUNTED].count())
    yield Value("sealing_failures", SealingFailure.objects.count())
    for row in HeadDestination.objects.all():
        # The first word: the rest may be an address.
        yield Value(
            "seal_heads_behind", max((last.sequence if last else 0) - row.delivered, 0), (row.name.split()[0],)
        )


declare(Reading(FIGURES, read))
