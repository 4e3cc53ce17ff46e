"""Load every page of the console over a long history: `python -m bench.pages --rows 2000000`.

Fills its own database by COPY, with several clients and runtimes, failures, seals and a trail; then loads each page
as an administrator and prints milliseconds (the median and the worst of some tries) and the number of statements.
`--data DIR` keeps the database, and uses it again if it is there. `--over MS` sets the bound of the exit status.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.embedded import django_on_embedded_postgres
from bench.history import SEARCH_INDEX, SEED, SPAN, Texts, rows, say

BOUND_MS = 500
TRIES = 3
CLIENTS = ("ragflow", "notebooks", "grader", "reports", "etl", "agents", "staging", "console")
# Shares of the runs; the first client has half of them.
WEIGHTS = (50, 15, 10, 8, 7, 5, 3, 2)
TRAIL, LOGINS, SEALED = 100_000, 50_000, 100_000
TRACES = 60
TRACEBACK = """Traceback (most recent call last):
  File "/workspace/main.py", line {line}, in main
    return {name}(rows)
  File "/workspace/main.py", line 4, in {name}
    value = table[{number}]
{error}: {words} {number}
"""
ERRORS = ("KeyError", "ValueError", "TypeError", "IndexError", "ZeroDivisionError", "RuntimeError")


def failed(chance: random.Random, words: list[str]) -> str:
    kind = chance.randrange(TRACES)
    return TRACEBACK.format(
        line=chance.randrange(5, 60), name=f"step_{words[kind]}", number=chance.randrange(10**6),
        error=ERRORS[kind % len(ERRORS)], words=words[kind * 7 % len(words)],
    )  # fmt: skip


def varied(
    plain: Iterator[list[Any]], names: list[str], clients: list[int], runtimes: list[int], words: list[str]
) -> Iterator[list[Any]]:
    """Give the rows of one client and one runtime to several, and their failures tracebacks."""
    chance = random.Random(SEED)
    at = {name: names.index(name) for name in names}
    for row in plain:
        row[at["client_id"]] = chance.choices(clients, WEIGHTS)[0]
        row[at["runtime_id"]] = chance.choice(runtimes)
        row[at["warm"]] = chance.random() < 0.9
        row[at["endpoint"]] = chance.choice(("api", "ragflow", "batch"))
        row[at["code_sha256"]] = f"{chance.randrange(4000):04x}" * 16
        if row[at["status"]] == "failed":
            row[at["stderr"]] = failed(chance, words)
        yield row


class Pages:
    """The console in this process, on the database in DATABASE_URL."""

    def __init__(self) -> None:
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.test import Client as Http

        call_command("migrate", verbosity=0)
        call_command("bootstrap", verbosity=0)
        self.administrator, _ = User.objects.get_or_create(
            username="bench", defaults={"is_staff": True, "is_superuser": True}
        )
        self.http = Http()
        self.http.force_login(self.administrator, "django.contrib.auth.backends.ModelBackend")

    def fill(self, number: int) -> None:
        from django.db import connection

        from clients.models import Client
        from executions import services
        from executions.models import Execution
        from runtimes.models import Runtime

        chance = random.Random(SEED)
        texts = Texts(chance)
        clients = [Client.objects.get_or_create(name=name)[0] for name in CLIENTS]
        runtimes = list(Runtime.objects.filter(enabled=True).order_by("pk"))
        services.submit(
            services.Request(runtime=runtimes[0], code="def main(): return 1", endpoint="api", client=clients[0]),
            policy="off",
        )
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")  # triggers are off
            cursor.execute("SELECT * FROM executions_execution LIMIT 1")
            names = [column.name for column in cursor.description]
            template = dict(zip(names, cursor.fetchone(), strict=True))
            template = {name: json.dumps(v) if isinstance(v, dict | list) else v for name, v in template.items()}
            cursor.execute("DELETE FROM executions_execution")
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [SEARCH_INDEX])
            (search_index,) = cursor.fetchone()
            cursor.execute(f"DROP INDEX {SEARCH_INDEX}")
        say(f"{number:,} executions by COPY")
        with connection.connection.cursor() as cursor:
            copied = ", ".join(f'"{name}"' for name in names)
            with cursor.copy(f"COPY executions_execution ({copied}) FROM STDIN") as copy:
                plain = rows(number, template, texts, chance)
                keys = [client.pk for client in clients], [runtime.pk for runtime in runtimes]
                for row in varied(plain, names, *keys, texts._words):
                    copy.write_row(row)
        say("the search index")
        with connection.cursor() as cursor:
            cursor.execute("SET maintenance_work_mem = '1GB'")
            cursor.execute(search_index)
            cursor.execute(f"ALTER INDEX {SEARCH_INDEX} ALTER COLUMN 1 SET STATISTICS 0")
        self._beside()
        assert Execution.objects.exists()  # noqa: S101

    def _beside(self) -> None:
        """Fill what the platform makes of executions: failures, hourly counts, trail, logins and seals."""
        from django.db import connection

        from audit import keys, sealing
        from executions import figures
        from executions.failures import grouping

        with connection.cursor() as cursor:
            say("files, deliveries, logins and the trail")
            for statement, parameters in BESIDE:
                cursor.execute(statement, parameters)
            for events in TRAILS:
                self._more_trail(cursor, events)
            cursor.execute("SET session_replication_role = origin")
            cursor.execute("ANALYZE")
        say("failures")
        say(f"{grouping.group_failures():,} failed runs are grouped")
        say("hourly counts")
        figures.roll_up()
        say("seals")
        keys.prepare()
        for _ in sealing.seal():
            pass
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")

    def _more_trail(self, cursor: Any, events: str) -> None:
        """Repeat the events that the set-up has left, at times of the year before."""
        cursor.execute(f"SELECT * FROM {events} LIMIT 0")  # noqa: S608
        names = [column.name for column in cursor.description if column.name not in ("pgh_id", "pgh_created_at")]
        listed = ", ".join(f'"{name}"' for name in names)
        cursor.execute(
            f"INSERT INTO {events} (pgh_created_at, {listed}) SELECT now() - i * interval '5 minutes', {listed}"  # noqa: S608
            f" FROM (SELECT * FROM {events} ORDER BY pgh_id LIMIT 1) one, generate_series(1, %s) i",
            [TRAIL // len(TRAILS)],
        )

    def addresses(self) -> dict[str, str]:
        from executions.models import Execution

        texts = Texts(random.Random(SEED))
        found = {"dashboard": "/admin/"}
        ranges = ("1h", "24h", "7d", "30d")
        begin = datetime.now(UTC) - SPAN / 2
        year = f"since={begin - SPAN:%Y-%m-%dT%H:%M}"
        quarter = f"since={begin:%Y-%m-%dT%H:%M}&until={begin + timedelta(days=90):%Y-%m-%dT%H:%M}"
        found |= {f"dashboard, {name}": f"/admin/?range={name}" for name in ranges}
        found |= {"dashboard, all": f"/admin/?{year}", "dashboard, a quarter": f"/admin/?{quarter}"}
        one = Execution.objects.filter(queued_at__lt=begin).order_by("-queued_at").only("pk")[0]
        bad = Execution.objects.filter(status="failed").order_by("-pk").only("pk")[0]
        queries = HISTORY | {
            "id": f"q={one.pk}", "id's begin": f"q={str(one.pk)[:13]}", "short id": f"q={str(one.pk)[-12:]}",
            "rare word": f"q={texts.rare}", "middling word": f"q={texts.middle}", "common word": f"q={texts.common}",
            "phrase": f"q={texts.phrase}", "no row": "q=nowhere", "without a word": f"q=-{texts.common}",
            "common word, failed": f"q={texts.common}&status__exact=failed",
            "common word, 7 days": f"q={texts.common}&range=7d",
            "rare word, a client": f"q={texts.rare}&client__id__exact=2",
            "a quarter": quarter, "failed, a quarter": f"status__exact=failed&{quarter}",
        }  # fmt: skip
        history = "/admin/executions/execution/"
        found |= {f"history, {name}": f"{history}?{query}" for name, query in queries.items()}
        found |= {"execution": f"{history}{one.pk}/change/", "failed execution": f"{history}{bad.pk}/change/"}
        return found | self._failures() | self._lists() | self._of_rows()

    def _failures(self) -> dict[str, str]:
        from executions.failures.models import FailureGroup

        base = "/admin/failures/failuregroup/"
        queries = {
            "": "", "1 h": "range=1h", "30 days": "range=30d", "by count": "o=-4",
            "by count, 30 days": "o=-4&range=30d", "new": "o=-6", "a client": "client__id__exact=2",
            "a kind": "kind__exact=time",
        }  # fmt: skip
        found = {f"failures, {name or 'all'}": f"{base}?{query}" for name, query in queries.items()}
        largest = FailureGroup.objects.order_by("-count").first()
        if largest:
            found["a failure"] = f"{base}{largest.pk}/change/"
            found["history, of a failure"] = f"/admin/executions/execution/?failure={largest.pk}"
            found["history, of a failure, 7 days"] = f"/admin/executions/execution/?failure={largest.pk}&range=7d"
        return found

    def _lists(self) -> dict[str, str]:
        """Return the pages of the menu, and the lists of every table."""
        from django.contrib import admin
        from django.urls import reverse

        from console.navigation import PAGES

        found = {title.lower(): reverse(f"admin:{name}") for name, _, _, title, _ in PAGES}
        for model, page in admin.site._registry.items():
            options = page.model._meta
            name = f"{options.app_label}_{options.model_name}"
            found[f"list of {model._meta.label}"] = reverse(f"admin:{name}_changelist")
        trail = reverse("admin:audit_trailentry_changelist")
        for name, query in TRAIL_QUERIES.items():
            found[f"trail, {name}"] = f"{trail}?{query}"
        return found | {
            "wrong pages": "/admin/executions/execution/?p=99", "seals, page 3": "/admin/audit/seal/?p=3",
        }  # fmt: skip

    def _of_rows(self) -> dict[str, str]:
        """Return the page of one row of every table, and its history."""
        from django.contrib import admin
        from django.urls import reverse

        found = {}
        for page in admin.site._registry.values():
            options = page.model._meta
            row = page.model._default_manager.order_by("pk").values_list("pk", flat=True).first()
            if row is not None and options.label not in ("executions.Execution", "failures.FailureGroup"):
                name = f"{options.app_label}_{options.model_name}"
                found[f"a {options.label}"] = reverse(f"admin:{name}_change", args=[row])
                found[f"history of a {options.label}"] = reverse(f"admin:{name}_history", args=[row])
        return found

    def measure(self, only: str = "") -> list[dict[str, Any]]:
        return [
            self._load(name, address) for name, address in self.addresses().items() if only in f"{name} {address}"
        ]

    def _load(self, name: str, address: str) -> dict[str, Any]:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        samples = []
        for _ in range(TRIES):
            started = time.perf_counter()
            answer = self.http.get(address)
            if getattr(answer, "streaming", False):
                answer.close()
            samples.append((time.perf_counter() - started) * 1000)
        with CaptureQueriesContext(connection) as captured:
            self.http.get(address)
        slowest: dict[str, Any] = max(
            captured.captured_queries, key=lambda query: float(query["time"]), default={"sql": "", "time": 0}
        )
        result = {
            "page": name, "address": address, "status": answer.status_code, "queries": len(captured),
            "median_ms": round(statistics.median(samples)), "worst_ms": round(max(samples)),
            "slowest_ms": round(float(slowest["time"]) * 1000), "slowest": slowest["sql"][:3000],
        }  # fmt: skip
        say(f"{result['median_ms']:>6} ms {result['queries']:>4} queries  {name}")
        return result


HISTORY = {
    "all": "", "1 h": "range=1h", "24 h": "range=24h", "30 days": "range=30d", "failed": "status__exact=failed",
    "succeeded": "status__exact=succeeded", "out of memory": "status__exact=out_of_memory",
    "cancelled (none)": "status__exact=cancelled", "an outcome": "outcome__exact=wall_time",
    "a runtime": "runtime__id__exact=2", "a client": "client__id__exact=3",
    "client and runtime": "client__id__exact=3&runtime__id__exact=2",
    "client, failed": "client__id__exact=8&status__exact=failed", "a label": "label=canvas:c7",
    "no such label": "label=canvas:none", "run time over 5 s": "ran_over=5000", "endpoint": "endpoint=ragflow",
    "cold": "warm__exact=0", "engine": "engine__exact=direct", "page 100": "p=100",
    "by memory": "o=-7", "by status": "o=1", "by client": "o=4", "by runtime": "o=3", "by outcome": "o=2",
    "by id": "o=0", "oldest first": "o=5", "a year": f"queued_at__year={datetime.now(UTC).year}",
    "a day": f"queued_at__year={datetime.now(UTC).year}&queued_at__month=6&queued_at__day=9",
    "label, 7 days, failed": "label=canvas:c7&range=7d&status__exact=failed",
}  # fmt: skip
TRAIL_QUERIES = {
    "a word": "q=python",
    "no row": "q=nowhere",
    "24 h": "range=24h",
    "an object": "object=clients.Client",
    "a person": "who=admin",
    "page 50": "p=50",
    "an address": "q=10.0.0.7",
}
TRAILS = ("audit_clientevent", "audit_runtimeevent", "audit_personevent", "audit_seccompprofileevent")
BESIDE: tuple[tuple[str, list[Any]], ...] = (
    (
        "INSERT INTO executions_failurepending SELECT id FROM executions_execution"
        " WHERE status NOT IN ('succeeded', 'queued', 'running', 'cancelled')",
        [],
    ),
    (
        "INSERT INTO audit_pending (source, row_id) SELECT 'executions_execution', id::text FROM"
        " (SELECT id FROM executions_execution ORDER BY id LIMIT %s) first",
        [SEALED],
    ),
    (
        "INSERT INTO executions_artifact (execution_id, name, content, size) SELECT id, 'plot.png', 'x', 1 FROM"
        " (SELECT id FROM executions_execution ORDER BY id DESC LIMIT 50000) latest",
        [],
    ),
    (
        "INSERT INTO executions_delivery (execution_id, status, attempt_count, last_error, created_at, finished_at)"
        " SELECT id, 'delivered', 1, '', finished_at, finished_at FROM"
        " (SELECT id, finished_at FROM executions_execution ORDER BY id DESC LIMIT 100000) latest",
        [],
    ),
    (
        "INSERT INTO axes_accesslog (user_agent, ip_address, username, http_accept, path_info, attempt_time,"
        " session_hash) SELECT 'Firefox', '10.0.0.7', 'person ' || i %% 20, '*/*', '/admin/login/',"
        " now() - i * interval '10 minutes', '' FROM generate_series(1, %s) i",
        [LOGINS],
    ),
)


def table(results: list[dict[str, Any]]) -> str:
    head = "| page | median ms | worst ms | statements | slowest statement ms |\n|---|---|---|---|---|"
    lines = [
        f"| {row['page']} | {row['median_ms']} | {row['worst_ms']} | {row['queries']} | {row['slowest_ms']} |"
        for row in sorted(results, key=lambda row: -row["median_ms"])
    ]
    return "\n".join([head, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the database there, or use the one that is")
    parser.add_argument("--only", default="", metavar="TEXT", help="only pages whose name or address holds TEXT")
    parser.add_argument("--over", type=int, default=BOUND_MS, metavar="MS", help="fail if a page takes longer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the slowest statements to FILE as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = options.data or Path(temporary)
        with django_on_embedded_postgres(folder):
            pages = Pages()
            filled = folder / "filled"
            if not filled.exists():
                pages.fill(options.rows)
                filled.touch()
            results = pages.measure(options.only)
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    slow = [row["page"] for row in results if row["median_ms"] > options.over]
    failed = [row["page"] for row in results if row["status"] not in (200, 302)]
    if slow or failed:
        sys.exit(f"over {options.over} ms: {', '.join(slow) or 'none'}; no page: {', '.join(failed) or 'none'}")


if __name__ == "__main__":
    main()
