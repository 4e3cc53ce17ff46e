"""Load every page of the console over a long history: `python -m bench.pages --rows 2000000`.

Fills its own database by COPY, with several clients and runtimes, failures, seals and a trail; then loads each page
as an administrator and prints milliseconds (the median and the worst of some tries) and the number of statements.
`--data DIR` keeps the database, and uses it again if it is there. `--over MS` sets the bound of the exit status.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import filling
from bench.embedded import django_on_embedded_postgres
from bench.history import SEED, SPAN, Texts, say

BOUND_MS = 500
TRIES = 3


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
        return found | self._failures() | self._lists() | self._of_rows() | self._usage(year, quarter)

    def _usage(self, year: str, quarter: str) -> dict[str, str]:
        from django.urls import reverse

        from usage.pages import SPLITS

        spans = {"7 days": "range=7d", "30 days": "range=30d", "a quarter": quarter, "all": year}
        return {
            f"usage, {span}, by {split}": f"{reverse('admin:usage')}?{query}&by={split}"
            for span, query in spans.items()
            for split in SPLITS
        }

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
            "history, no such page": "/admin/executions/execution/?p=999999", "seals, page 3": "/admin/audit/seal/?p=3",
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
        cpu_ms = self._cpu_ms()
        for _ in range(TRIES):
            started = time.perf_counter()
            answer = self.http.get(address)
            if getattr(answer, "streaming", False):
                answer.close()
            samples.append((time.perf_counter() - started) * 1000)
        cpu_ms = self._cpu_ms() - cpu_ms
        with CaptureQueriesContext(connection) as captured:
            self.http.get(address)
        slowest: dict[str, Any] = max(
            captured.captured_queries, key=lambda query: float(query["time"]), default={"sql": "", "time": 0}
        )
        result = {
            "page": name, "address": address, "status": answer.status_code, "wanted": ELSEWHERE.get(name, 200),
            "queries": len(captured), "load": round(os.getloadavg()[0], 1),
            "cpu_ms": round(cpu_ms / TRIES),
            "median_ms": round(statistics.median(samples)), "worst_ms": round(max(samples)),
            "slowest_ms": round(float(slowest["time"]) * 1000), "slowest": (slowest["sql"] or "")[:3000],
        }  # fmt: skip
        say(
            "{median_ms:>6} ms {cpu_ms:>6} ms of CPU {queries:>4} statements  load {load:>4}  {page}".format(
                **result
            )
        )
        return result

    def _cpu_ms(self) -> float:
        """Return the CPU time of this process and its Postgres session, which other work on the machine changes less.

        Not that of parallel workers of Postgres. In steps of the kernel's clock, mostly 10 ms.
        """
        from django.db import connection

        connection.ensure_connection()
        session = Path(f"/proc/{connection.connection.info.backend_pid}/stat").read_text(encoding="ascii")
        user, system = session.rpartition(")")[2].split()[11:13]
        return 1000 * (time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"))


# Pages that lead elsewhere.
ELSEWHERE = {"history, no such page": 302}
HISTORY = {
    "all": "", "1 h": "range=1h", "24 h": "range=24h", "30 days": "range=30d", "failed": "status__exact=failed",
    "succeeded": "status__exact=succeeded", "out of memory": "status__exact=out_of_memory",
    "cancelled (none)": "status__exact=cancelled", "an outcome": "outcome__exact=wall_time",
    "a runtime": "runtime__id__exact=2", "a client": "client__id__exact=3",
    "client and runtime": "client__id__exact=3&runtime__id__exact=2",
    "client, failed": "client__id__exact=8&status__exact=failed",
    "runtime, failed": "runtime__id__exact=2&status__exact=failed", "a label": "label=canvas:c7",
    "no such label": "label=canvas:none",
    "run time over 5 s": "ran_over=5000", "endpoint": "endpoint=ragflow",
    "cold": "warm__exact=0", "warm": "warm__exact=1", "engine": "engine__exact=direct", "page 100": "p=100",
    "by memory": "o=-7", "by least memory": "o=7", "by run time": "o=-6", "by least run time": "o=6",
    "by id": "o=0", "oldest first": "o=5", "cold, by memory": "o=-7&warm__exact=0",
    "a year": f"queued_at__year={datetime.now(UTC).year}",
    "a day": f"queued_at__year={datetime.now(UTC).year}&queued_at__month=6&queued_at__day=9",
    "label, 7 days, failed": "label=canvas:c7&range=7d&status__exact=failed",
}  # fmt: skip
TRAIL_QUERIES = {
    "a word": "q=python",
    "no row": "q=nowhere",
    "a week": f"since={datetime.now(UTC) - timedelta(days=7):%Y-%m-%d}",
    "an object": "object=clients.Client",
    "a person": "who=admin",
    "about a person": "person=admin",
    "30 days": "range=30d",
    "an act": "change=exported",
    "an address and a word": "q=10.0.0.7+python",
    "every entry": "q=database",
    "page 50": "p=50",
    "an address": "q=10.0.0.7",
}


def table(results: list[dict[str, Any]]) -> str:
    names = ("page", "median_ms", "worst_ms", "cpu_ms", "queries", "slowest_ms", "load")
    titles = ("page", "median ms", "worst ms", "CPU ms", "statements", "slowest statement ms", "load")
    head = f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|"
    lines = [
        f"| {' | '.join(str(row[name]) for name in names)} |"
        for row in sorted(results, key=lambda row: -row["median_ms"])
    ]
    return "\n".join([head, *lines])


def problem_of(results: list[dict[str, Any]], over: int) -> str:
    """Return what is wrong with the pages: too slow, or not there; "" if nothing is. `over`: milliseconds."""
    slow = [row["page"] for row in results if row["median_ms"] > over]
    failed = [row["page"] for row in results if row["status"] != row["wanted"]]
    if not results:
        return "no page was loaded"
    if not slow and not failed:
        return ""
    return f"over {over} ms: {', '.join(slow) or 'none'}; no page: {', '.join(failed) or 'none'}"


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = options.data or Path(temporary)
        with django_on_embedded_postgres(folder):
            pages = Pages()
            filled = folder / "filled"
            if not filled.exists():
                filling.fill(options.rows)
                filled.touch()
            return pages.measure(options.only)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the database there, or use the one that is")
    parser.add_argument("--only", default="", metavar="TEXT", help="only pages whose name or address holds TEXT")
    parser.add_argument("--over", type=int, default=BOUND_MS, metavar="MS", help="fail if a page takes longer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the slowest statements to FILE as well")
    options = parser.parse_args()
    results = measured(options)
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if problem := problem_of(results, options.over):
        sys.exit(problem)


if __name__ == "__main__":
    main()
