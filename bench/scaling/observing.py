"""What the platform's processes and its Postgres do between two moments."""

import os
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.1
# Of the machine's cores, or of one core for a process that has no second one.
SATURATED = 0.85
# Sessions that wait for the disk, of all that do anything.
WAITING = 0.5
# CPU of other work, of the machine's, from which on a figure says little.
OTHERS = 0.1
WRITES = ("IO WalSync", "IO WalWrite", "IO WALSync", "IO WALWrite", "LWLock WALWrite", "IO DataFileExtend")


@dataclass
class Moment:
    """`cpu_s`: CPU seconds of each part so far; `of_process`: of each process of it, by pid."""

    at: float
    cpu_s: dict[str, float]
    of_process: dict[int, tuple[str, float]]
    machine: tuple[float, float]  # seconds of all cores so far: busy, all
    transactions: int  # without those of measuring
    wal: int


@dataclass
class Figures:
    """What happened per run, and what bounded it."""

    kind: str
    nodes: int
    workers: int
    runs: int
    rate: float
    cpu_ms: dict[str, float]
    transactions: float
    wal: float
    connections: dict[str, float]
    busy: float
    busiest: tuple[str, float]
    waits: dict[str, float] = field(default_factory=dict)
    others: float = 0.0
    load: float = 0.0

    @property
    def bound(self) -> str:
        """Return what kept the rate from being higher."""
        share = {part: ms * self.rate / 1000 / (os.cpu_count() or 1) for part, ms in self.cpu_ms.items()}
        part, most = max(share.items(), key=lambda item: item[1], default=("nothing", 0.0))
        other = f"; other work took {self.others:.0%}" if self.others > OTHERS else ""
        if self.busy >= SATURATED:
            return f"CPU of the machine, {most:.0%} of it for {part}{other}"
        if self.busiest[1] >= SATURATED:
            return f"one core: the {self.busiest[0]}{other}"
        writing = sum(part_of_time for name, part_of_time in self.waits.items() if name in WRITES)
        if writing >= WAITING:
            return f"Postgres' writes to disk ({writing:.0%} of what its sessions do){other}"
        return f"the number of workers{other}"


class Observer:
    """Looks at /proc and at Postgres.

    `sessions`: of the platform's processes, with the part that each is. `own`: the part that this process plays.
    """

    def __init__(self, database_url: str, sessions: dict[int, str], own: str = "bench") -> None:
        self._database = psycopg.connect(database_url, autocommit=True, application_name="bench")
        self._sessions = sessions
        self._own = own
        self._waits: Counter[str] = Counter()
        # What measuring itself costs: sessions of Postgres, and their statements.
        self._backends = {self._database.info.backend_pid}
        self.statements = 0
        self._postmaster = self._parent(self._one("SELECT pg_backend_pid()"))

    def _one(self, statement: str) -> Any:
        row = self._database.execute(statement.encode()).fetchone()
        return row[0] if row else None

    @staticmethod
    def _parent(pid: int) -> int:
        return int(_stat(Path(f"/proc/{pid}"))[1])

    def leave_out(self, backend: int) -> None:
        """Do not count the CPU time of this session of Postgres."""
        self._backends.add(backend)

    def moment(self) -> Moment:
        cpu_s: defaultdict[str, float] = defaultdict(float)
        of_process = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                fields = _stat(folder)
                if part := self._part(folder, int(fields[1]), int(fields[3])):
                    own = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
                    # With those of its children that have ended, whose own are gone.
                    cpu_s[part] += own + (int(fields[13]) + int(fields[14])) / TICKS_PER_S
                    of_process[int(folder.name)] = part, own
        fetched = self._database.execute(
            "SELECT xact_commit + xact_rollback, pg_current_wal_insert_lsn() - '0/0'"
            " FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        transactions, wal = fetched or (0, 0)
        counted = int(transactions) - self.statements
        return Moment(time.monotonic(), cpu_s, of_process, _machine(), counted, int(wal))

    def _part(self, folder: Path, parent: int, session: int) -> str:
        pid = int(folder.name)
        if pid in self._backends:
            return "bench"
        if self._postmaster in (pid, parent):
            return "Postgres"
        if pid == os.getpid():
            return self._own
        part = self._sessions.get(session, "")
        name = (folder / "comm").read_text(encoding="utf-8").strip()
        return name if part and name in NAMED else part

    def connections(self) -> dict[str, int]:
        """Return the number of Postgres sessions by what opened them."""
        names = self._database.execute(
            "SELECT substring(application_name from 'sandbox-platform (.*) by '), count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> ALL(%s) GROUP BY 1",
            [list(self._backends)],
        ).fetchall()
        return {SERVICES.get(str(name), str(name or "other")): int(number) for name, number in names}

    def watch(self, ended: threading.Event) -> None:
        """Count what Postgres' sessions wait for, until the event is set."""
        with psycopg.connect(
            self._database.info.dsn, password=self._database.info.password, autocommit=True
        ) as own:
            self.leave_out(own.info.backend_pid)
            while not ended.wait(SAMPLE_S):
                self.statements += 1
                for (name,) in own.execute(
                    "SELECT coalesce(wait_event_type || ' ' || wait_event, 'CPU') FROM pg_stat_activity"
                    " WHERE state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                ):
                    self._waits[name] += 1

    def between(self, begin: Moment, end: Moment, runs: int, **known: Any) -> Figures:
        seconds = end.at - begin.at
        busy, whole = (after - before for before, after in zip(begin.machine, end.machine, strict=True))
        ours = {part: cpu_s - begin.cpu_s.get(part, 0.0) for part, cpu_s in end.cpu_s.items()}
        shares: defaultdict[str, float] = defaultdict(float)
        for pid, (part, cpu_s) in end.of_process.items():
            shares[part] = max(shares[part], (cpu_s - begin.of_process.get(pid, (part, cpu_s))[1]) / seconds)
        seen = sum(self._waits.values())
        return Figures(
            runs=runs,
            rate=runs / seconds,
            cpu_ms={part: 1000 * cpu / runs for part, cpu in ours.items() if cpu > 0},
            transactions=(end.transactions - begin.transactions) / runs,
            wal=(end.wal - begin.wal) / runs,
            connections={name: float(number) for name, number in self.connections().items()},
            busy=busy / whole if whole else 0.0,
            busiest=max(shares.items(), key=lambda item: item[1], default=("", 0.0)),
            waits={name: count / seen for name, count in self._waits.most_common(4)} if seen else {},
            others=max(0.0, busy - sum(ours.values())) / whole if whole else 0.0,
            load=round(os.getloadavg()[0], 1),
            **known,
        )

    def close(self) -> None:
        self._database.close()


# Commands as Postgres knows them.
SERVICES = {"manage.py worker": "worker", "manage.py keeper": "keeper", "__main__.py": "web"}
# Processes of a cluster that give themselves a name.
PUSHER = "pusher"
NAMED = {PUSHER}


def _stat(folder: Path) -> list[str]:
    """Return what /proc tells of the process, from its state on."""
    return (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _machine() -> tuple[float, float]:
    line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    ticks = [int(word) for word in line]
    whole = sum(ticks)
    # Idle, and waiting for a disk.
    return (whole - ticks[3] - ticks[4]) / TICKS_PER_S, whole / TICKS_PER_S
