"""The self-test of separation: a program leaves traces, and the next one looks for them, in the platform as it runs.

Both are ordinary executions of a client of their own, `self-test`, and take the way of any other: the queue, a worker,
a sandbox of the pool. What the second one finds is its result. The keeper submits a pair each hour; an alert opens if
a trace was found (conditions.py). Disable the client to stop the test.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from clients.models import Client
from executions import services
from executions.models import Execution, Mode, Status
from executions.models.execution import SELF_TEST
from runtimes.models import CodePolicy, Runtime
from sandbox_platform.kit.jobs import LastRun
from sandbox_platform.kit.locks import Lock

CLIENT = SELF_TEST
EVERY = timedelta(hours=1)
LOOK_EVERY_S = 30.0
RUNTIME = "python"
PAIR, PART = "pair", "part"  # labels
LEAVE, LOOK = "leave", "look"
# The second program finds traces of any earlier run, not only of its pair's.
MARK = "self-test-trace-"
PROGRAMS = {
    LEAVE: f"""
import ctypes, os, time
def main(pair):
    mark, left = "{MARK}" + pair, []
    for folder in ("/tmp", "/var/tmp", "/dev/shm", "/workspace", "/home/nobody", "/run/sandbox", "/opt/sandbox"):
        try:
            open(f"{{folder}}/{{mark}}", "w").close()
            left.append(folder)
        except OSError:
            pass
    if ctypes.CDLL(None).syscall(29, 0x5e1f, 4096, 0o1666) >= 0:
        left.append("shared memory")
    if os.fork() == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(15, b"{MARK}"[:15], 0, 0, 0)
        time.sleep(600)
    return left
""",
    # Its own text is in a file of the sandbox, so it does not hold the mark as such.
    LOOK: f"""
import ctypes, os
def main(pair):
    mark, seen = "{MARK[::-1]}"[::-1], []
    for root in ("/tmp", "/var/tmp", "/dev/shm", "/workspace", "/home", "/run", "/opt", "/etc"):
        for folder, _, names in os.walk(root):
            seen += [f"{{folder}}/{{name}}" for name in names if mark in name]
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark[:15] in open(f"/proc/{{number}}/comm").read():
                seen.append(f"process {{number}}")
        except OSError:
            pass
    if ctypes.CDLL(None).syscall(29, 0x5e1f, 4096, 0) >= 0:
        seen.append("shared memory")
    return seen[:20]
""",
}


@dataclass(frozen=True)
class Look:
    """The end of a pair. `seen`: traces of earlier runs; None if the program did not get to its end."""

    execution: Execution
    seen: Sequence[str] | None

    @property
    def at(self) -> datetime:
        return self.execution.finished_at or self.execution.queued_at


def client() -> Client:
    """Return the self-test's client, made if it is missing. It has no token, so nobody can call the API with it."""
    return Client.objects.get_or_create(name=CLIENT)[0]


@transaction.atomic
def tend() -> None:
    """Submit the next program that is due. Keepers call this periodically; one of them submits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.SELF_TEST])
        if not cursor.fetchone()[0]:
            return
    tester, runtime = _who_and_where()
    if tester is None or runtime is None:
        return
    last = _executions(tester).order_by("-id").first()
    if last is None or (last.labels.get(PART) == LOOK and last.is_finished):
        if last is None or last.queued_at + EVERY <= timezone.now():
            _submit(tester, runtime, LEAVE, f"{timezone.now():%Y%m%d%H%M%S}")
    elif last.labels.get(PART) == LEAVE and last.is_finished:
        _submit(tester, runtime, LOOK, last.labels[PAIR])


def _who_and_where() -> tuple[Client | None, Runtime | None]:
    tester = Client.objects.filter(name=CLIENT, enabled=True).first()
    return tester, Runtime.objects.enabled().lean().named(RUNTIME).first()


def _executions(tester: Client) -> QuerySet[Execution]:
    return Execution.objects.filter(client=tester, endpoint=SELF_TEST)


def _submit(tester: Client, runtime: Runtime, part: str, pair: str) -> Execution:
    request = services.Request(
        runtime=runtime,
        code=PROGRAMS[part],
        endpoint=SELF_TEST,
        mode=Mode.FUNCTION,
        arguments=json.dumps({"pair": pair}),
        labels={PAIR: pair, PART: part},
        client=tester,
        announce_start=False,
    )
    # No quota holds the platform's own test up, and no lint refuses its programs.
    return services.submit(request, policy=CodePolicy.OFF, admitted=True)


def looks(since: datetime) -> list[Look]:
    """Return the ends of pairs since then, newest first."""
    tester = Client.objects.filter(name=CLIENT).first()
    if tester is None:
        return []
    ended = _executions(tester).filter(
        queued_at__gte=since, labels__contains={PART: LOOK}, finished_at__isnull=False
    )
    columns = ("status", "result", "queued_at", "finished_at", "node")
    return [Look(row, _seen(row)) for row in ended.only(*columns).order_by("-id")[:100]]


def _seen(row: Execution) -> list[str] | None:
    if row.status != Status.SUCCEEDED or row.result is None:
        return None
    found = json.loads(row.result)
    return [str(each) for each in found] if isinstance(found, list) else None


def is_on() -> bool:
    return None not in _who_and_where()


def last_run() -> LastRun:
    """Return when the last pair ended, for the page of jobs."""
    tester, runtime = _who_and_where()
    if tester is None:
        return LastRun(words=f"Off: the client {CLIENT} is disabled or missing.")
    if runtime is None:
        return LastRun(words=f"Off: the runtime {RUNTIME} is disabled.")
    found = looks(timezone.now() - timedelta(days=7))
    if not found:
        return LastRun()
    words = "The second program did not end as it must."
    if found[0].seen is not None:
        words = f"{len(found[0].seen)} traces of an earlier run found." if found[0].seen else "No trace found."
    return LastRun(found[0].at, words)
