"""The platform's processes without sandboxes, on the Postgres of bench.embedded, and what they are measured with."""

import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.client import TRIVIAL, Caller
from bench.history import say
from bench.processes import ROOT, _free_port, end
from bench.scaling.noop import FOLDER, declare_nothing
from bench.scaling.observing import Figures, Observer

CLIENTS = 4
TOKENS = [uuid.uuid4().hex for _ in range(CLIENTS)]
CODE = TRIVIAL["python"]
READY_S, STALLED_S = 300, 300
LOOK_S = 0.1
# The first and the last runs of a measurement, of all, are not counted: processes start and stop then.
EDGE = 0.1
# Callers for each worker, so that none waits for a request.
CALLERS = 2
NOOP = "bench.scaling.noop"


def prepare() -> None:
    """Make the tables, and a runtime whose pool is as large as it may get."""
    from django.core.management import call_command

    from clients.models import Client
    from runtimes.models import Runtime

    call_command("migrate", verbosity=0)
    call_command("bootstrap", verbosity=0)
    Runtime.objects.exclude(slug="python").update(enabled=False)
    Runtime.objects.filter(slug="python").update(enabled=True, pool_min=4, pool_max=64)
    for number in range(CLIENTS):
        Client.objects.create_with_token(f"bench {number}", TOKENS[number])


class Cluster:
    """Keepers and worker clusters of some nodes, and a web service if one is wanted."""

    def __init__(self, folder: Path, nodes: int, workers: int, *, web: bool = False) -> None:
        self.nodes, self.workers = nodes, workers
        self.url = f"http://127.0.0.1:{(port := _free_port())}" if web else ""
        self.sessions: dict[int, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._folder = folder
        self._web = ["-m", "gunicorn", "sandbox_platform.wsgi", "-c", "sandbox_platform/gunicorn.py", "--preload"]
        self._base = {**os.environ, "SANDBOX_WORKERS": str(workers), "SANDBOX_ENGINE": "docker"}
        self._base |= {"SANDBOX_LISTEN": "127.0.0.1", "SANDBOX_LISTEN_PORT": str(port) if web else "0"}
        self._base.pop("SANDBOX_SEAL_KEY_FILE", None)

    def start(self) -> None:
        from sandbox_platform.kit import liveness

        names = [f"bench-{number}" for number in range(1, self.nodes + 1)]
        for name in names:
            sandboxes = self._folder / name
            sandboxes.mkdir(exist_ok=True)
            for service in ("keeper", "worker"):
                self._spawn(service, ["-m", NOOP, service], SANDBOX_NODE=name, **{FOLDER: str(sandboxes)})
        if self.url:
            self._spawn("web", self._web, SANDBOX_NODE=names[0])
        until(lambda: all(liveness.workers_alive(name) and liveness.keeper_alive(name) for name in names), READY_S)
        if self.url:
            until(self._answers, READY_S)

    def _spawn(self, part: str, command: list[str], **environment: str) -> None:
        with (self._folder / f"{part}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT, env=self._base | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        self.sessions[process.pid] = part

    def _answers(self) -> bool:
        import requests

        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/readyz", timeout=5).ok
        return False

    def stop(self) -> None:
        end(self._processes)


@contextmanager
def cluster(nodes: int, workers: int, *, web: bool = False) -> Iterator[tuple[Cluster, Observer]]:
    from sandboxes.models import Sandbox

    with tempfile.TemporaryDirectory(prefix="bench-scaling-") as folder:
        running = Cluster(Path(folder), nodes, workers, web=web)
        try:
            running.start()
            observer = Observer(os.environ["DATABASE_URL"], running.sessions)
            yield running, observer
            observer.close()
        except TimeoutError:
            for log in Path(folder).glob("*.log"):
                say(f"{log.name}: {log.read_text(errors='replace')[-2000:]}")
            raise
        finally:
            running.stop()
            Sandbox.objects.all().delete()


def submit(runs: int) -> None:
    """Queue runs of some clients in turn, as the web does, from this process."""
    from clients.models import Client
    from executions import services
    from runtimes.models import Runtime

    runtime = Runtime.objects.get(slug="python")
    clients = list(Client.objects.filter(name__startswith="bench "))
    for number in range(runs):
        request = services.Request(runtime=runtime, code=CODE, endpoint="api", client=clients[number % CLIENTS])
        services.submit(request, policy="off")


def drained_runs(nodes: int, workers: int, runs: int) -> Figures:
    """Queue runs, start the processes, and watch them all end."""
    from executions.models import Execution

    submit(runs)
    with cluster(nodes, workers) as (running, observer):
        return _watched(running, observer, runs, Execution.objects.open().count, kind="runs")


def drained_tasks(nodes: int, workers: int, runs: int) -> Figures:
    """The same with tasks that do nothing: what the broker alone does."""
    from django.db import connection

    task = declare_nothing()
    for number in range(runs):
        task.enqueue(client_id=number % CLIENTS + 1)

    def left() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM django_q_ormq")
            return int(cursor.fetchone()[0])

    with cluster(nodes, workers) as (running, observer):
        return _watched(running, observer, runs, left, kind="tasks")


def _watched(running: Cluster, observer: Observer, runs: int, left: Callable[[], int], **known: Any) -> Figures:
    from django.db import connection

    observer.leave_out(connection.connection.info.backend_pid)

    def counted() -> int:
        observer.statements += 1
        return left()

    ended = threading.Event()
    watching = threading.Thread(target=observer.watch, args=(ended,))
    watching.start()
    try:
        first = _when(counted, (1 - EDGE) * runs)
        begin = observer.moment()
        last = _when(counted, EDGE * runs)
        end = observer.moment()
    finally:
        ended.set()
        watching.join()
    figures = observer.between(begin, end, first - last, nodes=running.nodes, workers=running.workers, **known)
    until(lambda: not left(), READY_S)
    return figures


def _when(left: Callable[[], int], most: float) -> int:
    """Wait until at most so many are left, and return how many are. Raises TimeoutError if nothing moves."""
    before, moved = left(), time.monotonic()
    while (now := left()) > most:
        if now < before:
            before, moved = now, time.monotonic()
        if time.monotonic() - moved > STALLED_S:
            raise TimeoutError(f"{now} are left, and none has ended for {STALLED_S} s")
        time.sleep(LOOK_S)
    return now


def submitted(runs: int) -> Figures:
    """What queueing a run costs, from one process."""
    from executions.models import Execution

    observer = Observer(os.environ["DATABASE_URL"], {}, own="web")
    begin = observer.moment()
    submit(runs)
    figures = observer.between(begin, observer.moment(), runs, kind="submit", nodes=0, workers=0)
    observer.close()
    _forget(Execution.objects.open())
    return figures


def _forget(rows: Any) -> None:
    """Delete queued runs and their tasks: nobody will run them."""
    from django_q.models import OrmQ

    OrmQ.objects.all().delete()
    rows._raw_delete(rows.db)


def over_http(nodes: int, workers: int, seconds: float) -> Figures:
    """Requests that wait for their run, through the web service, from threads of this process."""
    from django.db import connection

    with cluster(nodes, workers, web=True) as (running, observer):
        observer.leave_out(connection.connection.info.backend_pid)
        caller = Caller(running.url, TOKENS[0])
        failed = [sample.status for _ in range(3) if (sample := caller.run("python", CODE)).status != "success"]
        if failed:
            raise SystemExit(f"a run without a sandbox failed: {failed}")
        until_at = time.monotonic() + seconds
        begin = observer.moment()

        def call(_: int) -> int:
            served = 0
            while time.monotonic() < until_at:
                served += caller.run("python", CODE).status == "success"
            return served

        with ThreadPoolExecutor(CALLERS * workers * nodes) as threads:
            served = sum(threads.map(call, range(CALLERS * workers * nodes)))
        return observer.between(
            begin, observer.moment(), max(served, 1), kind="http", nodes=nodes, workers=workers
        )


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(LOOK_S)


def sizes() -> dict[str, int]:
    """Seal everything, and return the bytes on disk by what takes them."""
    from django.db import connection

    from audit import keys, sealing

    keys.prepare()
    sealing.seal()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
        found = {}
        for name, expression in SIZES.items():
            cursor.execute(f"SELECT {expression}")
            found[name] = int(cursor.fetchone()[0])
    return found


def stored_bytes(before: dict[str, int]) -> dict[str, float]:
    """Return the bytes on disk for each execution stored since, by what takes them."""
    from executions.models import Execution

    rows = Execution.objects.count() or 1
    grown = {name: (size - before[name]) / rows for name, size in sizes().items()}
    whole = grown.pop(WHOLE)
    return grown | {"everything else": whole - sum(grown.values())}


WHOLE = "database"
SIZES = {
    "row": "pg_table_size('executions_execution')",
    "indexes": "pg_indexes_size('executions_execution')",
    "seal": "pg_total_relation_size('audit_leaf')",
    WHOLE: "pg_database_size(current_database())",
}
