"""What verification reports."""

from dataclasses import dataclass
from datetime import timedelta

from audit.models import Seal

# Tolerance for clock skew and late commits before a row counts as back-dated.
SKEW = timedelta(hours=1)
# Keepers seal every hour. A keeper with many rows to seal may be late.
LATE = timedelta(hours=2)


@dataclass(frozen=True)
class Finding:
    table: str
    row: str
    problem: str
    seal: Seal | None = None

    def __str__(self) -> str:
        where = f"{self.table} {self.row}".strip()
        if self.seal:
            begin = f"{self.seal.period_from:%Y-%m-%d %H:%M:%S}" if self.seal.period_from else "the beginning"
            where += f" (seal {self.seal.sequence}, {begin} to {self.seal.period_to:%Y-%m-%d %H:%M:%S})"
        return f"{where}: {self.problem}"
