"""Measure the web UI on a long history: `python -m bench.console --rows 1000000`.

Fills its own database by COPY, counts the hours, and measures the server's time for each page. Needs about 4 KB of disk
per row.
"""

import argparse
import json
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.client import load
from bench.embedded import django_on_embedded_postgres
from bench.history import SEARCH_INDEX, SEED, Texts, rows, say, summary, timed

RUNS = 15


def fill(number: int) -> Texts:
    from django.db import connection

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
    with connection.connection.cursor() as cursor:
        copied = ", ".join(f'"{name}"' for name in names)
        with cursor.copy(f"COPY executions_execution ({copied}) FROM STDIN") as copy:
            for row in rows(number, template, texts, chance):
                copy.write_row(row)
    say("the search index")
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '1GB'")
        cursor.execute(search_index)
        # Autovacuum would do this after so many rows, during the measurements.
        cursor.execute("VACUUM (ANALYZE)")
    return texts


def measure(number: int) -> dict[str, Any]:
    from django.contrib import admin
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client as Http
    from django.urls import reverse

    from clients.models import Client
    from executions import figures, services
    from executions.models import Execution
    from runtimes.models import Runtime
    from sandbox_platform.gunicorn import post_worker_init
    from seccomp_profiles import shipped
    from seccomp_profiles.models import SeccompProfile

    call_command("migrate", verbosity=0)
    shipped.create_missing()
    default = SeccompProfile.objects.get(name="default")
    runtime = Runtime.objects.create(slug="python", name="Python", image="none", source_file="main.py")
    client, _token = Client.objects.create_with_token("bench")
    request = services.Request(runtime=runtime, code="def main(): return 1", endpoint="api", client=client)
    services.cancel(services.submit(request, policy="off").pk)
    texts = fill(number)
    result: dict[str, Any] = {"rows": number, "load before": load()}
    say("counting the hours")
    started = time.monotonic()
    result["hours counted"] = figures.roll_up()
    result["counting_s"] = round(time.monotonic() - started, 1)
    http = Http()
    http.force_login(User.objects.create_superuser("bench"))

    def get(path: str) -> Callable[[], Any]:
        def get() -> None:
            assert http.get(path).status_code == 200, path  # noqa: S101

        return get

    post_worker_init(None)
    middle = Execution.objects.order_by("id")[number // 2 : number // 2 + 1].get().pk
    executions = "/admin/executions/execution/"
    pages = {
        "dashboard, 24 hours": "/admin/?range=24h",
        "dashboard, 30 days": "/admin/?range=30d",
        "dashboard, an hour": "/admin/?range=1h",
        "dashboard, a year": f"/admin/?since={datetime.now(UTC) - timedelta(days=364):%Y-%m-%dT%H:%M}",
        "executions": executions,
        "executions, page 3": f"{executions}?p=3",
        "executions, failed": f"{executions}?status__exact=failed",
        "executions, one month": f"{executions}?queued_at__year={middle_year(middle)}&queued_at__month=6",
        "executions, 7 days": f"{executions}?range=7d",
        "executions, short id": f"{executions}?q={str(middle)[-12:]}",
        "executions, one label": f"{executions}?label=canvas:c7",
        "executions, over 5 s": f"{executions}?ran_over=5000",
        "executions, rare word": f"{executions}?q={texts.rare}",
        "executions, common word": f"{executions}?q={texts.common}",
        "execution": f"{executions}{middle}/change/",
        "playground": "/admin/playground/",
        "pool": "/admin/pool/",
        "doctor": "/admin/doctor/",
        "schedule": "/admin/schedule/",
        "runtime": f"/admin/runtimes/runtime/{runtime.pk}/change/",
        "client": f"/admin/clients/client/{client.pk}/change/",
        "seccomp profile": f"/admin/seccomp_profiles/seccompprofile/{default.pk}/change/",
    }
    pages |= {
        f"list: {model._meta.verbose_name_plural}": reverse(
            f"admin:{model._meta.label_lower.replace('.', '_')}_changelist"
        )
        for model in admin.site._registry
        if model is not Execution
    }
    for name, path in pages.items():
        get(path)()
        result[name] = summary(timed(get(path), RUNS))
        say(f"{name}: {result[name]}")
    return result | {"load after": load()}


def middle_year(key: uuid.UUID) -> int:
    return time.gmtime((key.int >> 80) / 1000).tm_year


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with django_on_embedded_postgres():
        print(json.dumps(measure(options.rows), indent=1))


if __name__ == "__main__":
    main()
