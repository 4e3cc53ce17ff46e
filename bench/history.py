"""A long history: `python -m bench.history --rows 2000000` fills a database of its own by COPY, and measures
lists, filters, search, detail and insert on it. Needs about 4 KB of disk a row."""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.client import load, percentile
from scripts.embedded_postgres import EmbeddedPostgres

SEED = 7
SPAN = timedelta(days=365)
WORDS = 5000
TEXTS = 4000
RUNS = 40
INSERTS = 300
API = "/api/v1/executions"
# Of a hundred ended executions.
ENDS = [("succeeded", "completed")] * 88 + [("failed", "nonzero_exit")] * 9 + [("timed_out", "wall_time")] * 3
SEARCH_INDEX = "execution_search_idx"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Texts:
    """Programs and outputs of realistic size: words as frequent as in a language, most texts short, some long."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._words = [
            "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 10))) for _ in range(WORDS)
        ]
        self._weights = [1 / (rank + 10) for rank in range(WORDS)]
        self.rare, self.common = self._words[-1], self._words[30]
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
        status, outcome = chance.choice(ENDS)
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
    """Milliseconds of each."""
    samples = []
    for _ in range(runs):
        started = time.perf_counter()
        action()
        samples.append((time.perf_counter() - started) * 1000)
    return samples


def summary(samples: list[float]) -> dict[str, float]:
    return {f"p{p}_ms": round(percentile(samples, p), 1) for p in (50, 95)}


def measure(number: int) -> dict[str, Any]:
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client as Http

    from executions import services
    from executions.models import Client
    from runtimes.models import Runtime

    call_command("migrate", verbosity=0)
    runtime = Runtime.objects.create(slug="python", name="Python", image="none", source_file="main.py")
    client, token = Client.objects.create_with_token("bench")
    http = Http(headers={"Authorization": f"Bearer {token}"})

    def insert() -> None:
        request = services.Request(runtime=runtime, code="def main(): return 1", endpoint="api", client=client)
        services.submit(request, policy="off")

    def get(path: str) -> Callable[[], Any]:
        def get() -> Any:
            answer = http.get(path)
            assert answer.status_code == 200, answer.content  # noqa: S101
            return answer.json()

        return get

    result: dict[str, Any] = {"rows": number, "load before": load()}
    timed(insert)  # what the first ones pay for
    result["insert, empty"] = summary(timed(insert, INSERTS))

    chance = random.Random(SEED)
    texts = Texts(chance)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM executions_execution LIMIT 1")
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
        result["search_index_s"] = round(time.monotonic() - started)
        cursor.execute("ANALYZE")
        cursor.execute(
            "SELECT pg_total_relation_size('executions_execution'), pg_relation_size(%s)", [SEARCH_INDEX]
        )
        result["table_bytes"], result["search_index_bytes"] = cursor.fetchone()

    say("lists, filters, search, detail, insert")
    middle = (datetime.now(UTC) - SPAN / 2).strftime("%Y-%m-%dT%H:%M:%SZ")
    month = (datetime.now(UTC) - SPAN / 12).strftime("%Y-%m-%dT%H:%M:%SZ")
    one = get(f"{API}?limit=1&queued_before={middle}")()["results"][0]["id"]
    paths = {
        "list": API,
        "list, from the middle": f"{API}?queued_before={middle}",
        "failed": f"{API}?status=failed",
        "timed out, one runtime": f"{API}?status=timed_out&runtime=python",
        "one label": f"{API}?label=canvas:c7",
        "longer than 5 s, last month": f"{API}?min_duration_ms=5000&queued_after={month}",
        "slowest of the last month": f"{API}?ordering=-duration&queued_after={month}",
        "search, one row": f"{API}?q={number // 2}",
        "search, rare word": f"{API}?q={texts.rare}",
        "search, common word": f"{API}?q={texts.common}",
        "detail": f"{API}/{one}",
    }
    for name, path in paths.items():
        result[name] = summary(timed(get(path)))
        say(f"{name}: {result[name]}")
    timed(insert)
    result["insert, full"] = summary(timed(insert, INSERTS))
    return result | {"load after": load()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-history-") as folder:
        postgres = EmbeddedPostgres(Path(folder))
        postgres.start()
        try:
            os.environ |= {"DATABASE_URL": postgres.url, "DJANGO_SECRET_KEY": uuid.uuid4().hex}
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
            import django

            django.setup()
            from django.conf import settings

            settings.ALLOWED_HOSTS = ["*"]
            print(json.dumps(measure(options.rows), indent=1))
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
