"""Measure a long history: `python -m bench.history --rows 2000000`.

Fills its own database by COPY and measures lists, filters, search, detail, the admin, inserting and finishing.
`--seals N` also seals N rows and verifies them. `--plans FILE` writes the plans of the queries. Needs about 4 KB of
disk per row.
"""

import argparse
import json
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from bench.client import load, percentile
from bench.embedded import django_on_embedded_postgres

SEED = 7
SPAN = timedelta(days=365)
WORDS = 5000
TEXTS = 4000
RUNS = 40
INSERTS = 300
API = "/api/v1/executions"
ADMIN = "/admin/executions/execution/"
# Status and outcome of a thousand ended executions.
ENDS = [("succeeded", "completed")] * 880 + [("failed", "nonzero_exit")] * 90 + [("timed_out", "wall_time")] * 30
RARE_END = 20_000  # one row in this many is out of memory
SEARCH_INDEX = "execution_search_idx"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Texts:
    """Programs and outputs of realistic size: word frequencies as in a language, most texts short, some long."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._words = [
            "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 10))) for _ in range(WORDS)
        ]
        self._weights = [1 / (rank + 10) for rank in range(WORDS)]
        self.rare, self.middle, self.common = self._words[-1], self._words[1500], self._words[30]
        self.phrase = f'"{self.common} {self._words[31]}"'
        self.no_phrase = f'"{self._words[900]} {self._words[901]}"'
        self.codes = [self._text(6, 1.0) for _ in range(TEXTS)]
        self.outputs = [self._text(3.5, 1.4) for _ in range(TEXTS)]

    def _text(self, mu: float, sigma: float) -> str:
        size = min(int(self._chance.lognormvariate(mu, sigma)), 30_000)
        return " ".join(self._chance.choices(self._words, self._weights, k=size // 7 + 1))


def rows(number: int, template: dict[str, Any], texts: Texts, chance: random.Random) -> Iterator[list[Any]]:
    begin = datetime.now(UTC) - SPAN
    for row in range(number):
        queued = begin + SPAN * (row / number)
        started = queued + timedelta(milliseconds=chance.uniform(8, 40))
        ended = started + timedelta(milliseconds=chance.lognormvariate(4, 1.5))
        status, outcome = chance.choice(ENDS) if (row + 1) % RARE_END else ("out_of_memory", "memory")
        milliseconds = int(queued.timestamp() * 1000)
        tail = chance.getrandbits(62) | (2 << 62)
        yield list(
            (
                template
                | {
                    "id": uuid.UUID(int=milliseconds << 80 | 7 << 76 | chance.getrandbits(12) << 64 | tail),
                    "code": f"# run {row}\n{chance.choice(texts.codes)}",
                    "stdout": chance.choice(texts.outputs),
                    "stderr": chance.choice(texts.outputs)[:500] if status != "succeeded" else "",
                    "labels": json.dumps({"canvas": f"c{chance.randrange(500)}"} if row % 3 == 0 else {}),
                    "status": status,
                    "outcome": outcome,
                    "exit_code": 0 if status == "succeeded" else 1,
                    "queued_at": queued,
                    "enqueued_at": queued,
                    "started_at": started,
                    "ended_at": ended,
                    "finished_at": ended,
                    "cpu_ms": chance.randrange(5, 500),
                    "peak_memory_bytes": chance.randrange(20, 250) * 1024 * 1024,
                }
            ).values()
        )


def timed(action: Callable[[], Any], runs: int = RUNS) -> list[float]:
    """Return the milliseconds of each of `runs` calls."""
    samples = []
    for _ in range(runs):
        started = time.perf_counter()
        action()
        samples.append((time.perf_counter() - started) * 1000)
    return samples


def summary(samples: list[float]) -> dict[str, float]:
    return {f"p{p}_ms": round(percentile(samples, p), 1) for p in (50, 95)}


class Bench:
    """The platform in this process, on the database in DATABASE_URL."""

    def __init__(self) -> None:
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.test import Client as Http

        from clients.models import Client
        from runtimes.models import Runtime

        call_command("migrate", verbosity=0)
        self.runtime = Runtime.objects.create(slug="python", name="Python", image="none", source_file="main.py")
        self.client, token = Client.objects.create_with_token("bench")
        _, auditor = Client.objects.create_with_token("auditor", role="auditor")
        self.http = Http(headers={"Authorization": f"Bearer {token}"})
        self.auditor = Http(headers={"Authorization": f"Bearer {auditor}"})
        self.admin = Http()
        self.admin.force_login(User.objects.create_superuser("bench"))
        self._unfinished: list[uuid.UUID] = []

    def insert(self) -> None:
        from executions import services

        request = services.Request(
            runtime=self.runtime, code="def main(): return 1", endpoint="api", client=self.client
        )
        self._unfinished.append(services.submit(request, policy="off").pk)

    def finish(self) -> None:
        """Finish an inserted execution with an output of ordinary size."""
        from django.utils import timezone

        from executions import services
        from executions.models import Execution, Outcome, Status
        from executions.verdict import Verdict
        from sandboxes.session import Report

        now = timezone.now()
        report = Report(stdout=bytearray(b"one two three " * 30), started_at=now, ended_at=now)
        pk = self._unfinished.pop()
        Execution.objects.filter(pk=pk).update(status=Status.RUNNING, claimed_at=now)
        verdict = Verdict(Status.SUCCEEDED, Outcome.COMPLETED, exit_code=0)
        limits = self.runtime.limits.as_dict()
        assert services.finish(pk, verdict, report=report, limits=limits, redacting=False)  # noqa: S101

    def write(self) -> dict[str, dict[str, float]]:
        timed(self.insert)  # warm up
        timed(self.finish)
        return {"insert": summary(timed(self.insert, INSERTS)), "finish": summary(timed(self.finish, INSERTS))}

    def get(self, http: Any, path: str) -> Any:
        answer = http.get(path)
        assert answer.status_code == 200, answer.content  # noqa: S101
        return answer

    def fill(self, number: int, texts: Texts, chance: random.Random) -> dict[str, Any]:
        from django.db import connection

        result: dict[str, Any] = {}
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM executions_execution ORDER BY id LIMIT 1")
            names = [column.name for column in cursor.description]
            template = dict(zip(names, cursor.fetchone(), strict=True))
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [SEARCH_INDEX])
            (search_index,) = cursor.fetchone()
            cursor.execute(f"DROP INDEX {SEARCH_INDEX}")
        template = {name: json.dumps(v) if isinstance(v, dict | list) else v for name, v in template.items()}

        say(f"{number} rows by COPY")
        started = time.monotonic()
        with connection.connection.cursor() as cursor:
            copied = ", ".join(f'"{name}"' for name in names)
            with cursor.copy(f"COPY executions_execution ({copied}) FROM STDIN") as copy:
                for row in rows(number, template, texts, chance):
                    copy.write_row(row)
        result["copy_s"] = round(time.monotonic() - started)
        say("the search index")
        started = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute("SET maintenance_work_mem = '1GB'")
            cursor.execute(search_index)
            cursor.execute(f"ALTER INDEX {SEARCH_INDEX} ALTER COLUMN 1 SET STATISTICS 0")
            result["search_index_s"] = round(time.monotonic() - started)
            started = time.monotonic()
            cursor.execute("ANALYZE")
            result["analyze_s"] = round(time.monotonic() - started, 1)
            cursor.execute("SELECT pg_total_relation_size('executions_execution')")
            (result["bytes"],) = cursor.fetchone()
            cursor.execute(
                "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes"
                " WHERE relname = 'executions_execution' ORDER BY 2 DESC"
            )
            result["index_bytes"] = dict(cursor.fetchall())
        return result

    def cases(self, number: int, texts: Texts) -> dict[str, tuple[Any, str]]:
        middle = (datetime.now(UTC) - SPAN / 2).strftime("%Y-%m-%dT%H:%M:%SZ")
        month = (datetime.now(UTC) - SPAN / 12).strftime("%Y-%m-%dT%H:%M:%SZ")
        one = self.get(self.http, f"{API}?limit=1&queued_before={middle}").json()["results"][0]["id"]
        api = {
            "list": "",
            "list, oldest first": "?ordering=queued_at",
            "list, from the middle": f"?queued_before={middle}",
            "failed": "?status=failed",
            "out of memory (rare)": "?status=out_of_memory",
            "cancelled (none)": "?status=cancelled",
            "timed out, one runtime": "?status=timed_out&runtime=python",
            "one label": "?label=canvas:c7",
            "longer than 5 s, last month": f"?min_duration_ms=5000&queued_after={month}",
            "slowest of the last month": f"?ordering=-duration&queued_after={month}",
            "slowest of all": "?ordering=-duration",
            "most memory, from the middle": f"?ordering=-peak_memory_bytes&queued_before={middle}",
            "search, one row": f"?q={number // 2}",
            "search, no row": "?q=nowhere",
            "search, rare word": f"?q={texts.rare}",
            "search, middling word": f"?q={texts.middle}",
            "search, common word": f"?q={texts.common}",
            "search, common word, oldest first": f"?q={texts.common}&ordering=queued_at",
            "search, common word, from the middle": f"?q={texts.common}&queued_before={middle}",
            "search, common word, timed out": f"?q={texts.common}&status=timed_out",
            "search, common word, one label": f"?q={texts.common}&label=canvas:c7",
            "search, two words": f"?q={texts.rare}+{texts.common}",
            "search, phrase": f"?q={texts.phrase}",
            "search, phrase that hardly is": f"?q={texts.no_phrase}",
            "search, without a word": f"?q=-{texts.common}",
            "search, slowest of one word": f"?q={texts.rare}&ordering=-duration&queued_after={month}",
            "detail": f"/{one}",
        }
        auditor = ("list", "slowest of all", "search, rare word", "search, common word")
        return (
            {name: (self.http, f"{API}{query}") for name, query in api.items()}
            | {f"{name}, auditor": (self.auditor, f"{API}{api[name]}") for name in auditor}
            | {
                "stats": (self.http, "/api/v1/stats"),
                "admin list": (self.admin, ADMIN),
                "admin list, failed": (self.admin, f"{ADMIN}?status__exact=failed"),
                "admin search, rare word": (self.admin, f"{ADMIN}?q={texts.rare}"),
                "admin search, common word": (self.admin, f"{ADMIN}?q={texts.common}"),
            }
        )

    def plans(self, http: Any, path: str) -> str:
        """Return the plans of the statements that read executions. Runs each statement once more."""
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as captured:
            self.get(http, path)
        lines = [f"### {path}"]
        for statement in captured.captured_queries:
            if '"executions_execution"' not in statement["sql"] or not statement["sql"].startswith("SELECT"):
                continue
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (ANALYZE, BUFFERS, SUMMARY) " + statement["sql"].replace("%", "%%"), [])
                lines += ["", statement["sql"][-600:], *(row[0] for row in cursor.fetchall())]
        return "\n".join(lines)


def seal_and_verify(most: int) -> dict[str, Any]:
    """Seal and verify the first `most` rows of a database that holds more."""
    from django.db import connection

    from audit import keys, sealing
    from audit.verification import verify

    with connection.cursor() as cursor:
        # Rows beyond `most` are not part of this measurement.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM audit_pending WHERE id > (SELECT min(id) + %s FROM audit_pending)", [most])
        cursor.execute("SET session_replication_role = origin")
    keys.prepare()
    started = time.monotonic()
    sealed = sum(seal.count for seal in sealing.seal())
    result: dict[str, Any] = {"sealed": sealed, "seal_s": round(time.monotonic() - started, 1)}
    started = time.monotonic()
    findings = sum(1 for finding in verify() if finding.seal)
    return result | {"verify_s": round(time.monotonic() - started, 1), "findings": findings}


def measure(number: int, seals: int, plans: Path | None) -> dict[str, Any]:
    bench = Bench()
    result: dict[str, Any] = {"rows": number, "load before": load(), "empty": bench.write()}
    bench.insert()
    chance = random.Random(SEED)
    texts = Texts(chance)
    bench.finish()
    result |= bench.fill(number, texts, chance)
    cases = bench.cases(number, texts)
    say("lists, filters, search, detail, admin")
    for name, (http, path) in cases.items():
        result[name] = summary(timed(partial(bench.get, http, path)))
        say(f"{name}: {result[name]}")
    result["full"] = bench.write()
    say(f"writing: empty {result['empty']}, full {result['full']}")
    if plans:
        plans.write_text("\n\n".join(bench.plans(*case) for case in cases.values()), encoding="utf-8")
    if seals:
        result["seals"] = seal_and_verify(seals)
        say(f"seals: {result['seals']}")
    return result | {"load after": load()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--seals", type=int, default=0, metavar="N", help="also seal and verify N rows")
    parser.add_argument("--plans", type=Path, metavar="FILE", help="write the plans of the queries to FILE")
    options = parser.parse_args()
    with django_on_embedded_postgres():
        print(json.dumps(measure(options.rows, options.seals, options.plans), indent=1))


if __name__ == "__main__":
    main()
