"""Fills a database for bench.pages by COPY: executions of several clients and runtimes, and what is made of them."""

import json
import random
from collections.abc import Iterator
from typing import Any

from bench.history import SEARCH_INDEX, SEED, Texts, rows, say

CLIENTS = ("ragflow", "notebooks", "grader", "reports", "etl", "agents", "staging", "console")
# Shares of the runs; the first client has half of them.
WEIGHTS = (50, 15, 10, 8, 7, 5, 3, 2)
TRAIL, LOGINS, SEALED, ALERTS = 100_000, 50_000, 100_000, 20_000
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


def fill(number: int) -> None:
    from django.db import connection

    from clients.models import Client
    from executions import services
    from executions.models import Execution
    from runtimes.models import Runtime
    from sandbox_platform.kit import acts
    from sandbox_platform.kit.acts import Kind

    chance = random.Random(SEED)
    texts = Texts(chance)
    clients = [Client.objects.get_or_create(name=name)[0] for name in CLIENTS]
    runtimes = list(Runtime.objects.filter(enabled=True).order_by("pk"))
    services.submit(
        services.Request(runtime=runtimes[0], code="def main(): return 1", endpoint="api", client=clients[0]),
        policy="off",
    )
    acts.done(Kind.EXPORTED, "executions", after={"format": "csv", "status": "failed"})
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
    _beside()
    assert Execution.objects.exists()  # noqa: S101


def _beside() -> None:
    """Fill what the platform makes of executions: failures, hourly counts, trail, logins and seals."""
    from django.db import connection

    from audit import keys, sealing
    from executions import figures
    from executions.failures import grouping
    from usage import rollup

    with connection.cursor() as cursor:
        say("files, deliveries, logins, alerts and the trail")
        for statement, parameters in BESIDE:
            cursor.execute(statement, parameters)
        for events in TRAILS:
            _more_trail(cursor, events)
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("ANALYZE")
    say("failures")
    say(f"{grouping.group_failures():,} failed runs are grouped")
    say("hourly counts")
    figures.roll_up()
    say("usage")
    rollup.roll_up()
    say("seals")
    keys.prepare()
    for _ in sealing.seal():
        pass
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(SEALS)
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("VACUUM ANALYZE")


def _more_trail(cursor: Any, events: str) -> None:
    """Repeat the events that the set-up has left, at times of the year before."""
    cursor.execute(f"SELECT * FROM {events} LIMIT 0")  # noqa: S608
    names = [column.name for column in cursor.description if column.name not in ("pgh_id", "pgh_created_at")]
    listed = ", ".join(f'"{name}"' for name in names)
    cursor.execute(
        f"INSERT INTO {events} (pgh_created_at, {listed}) SELECT now() - i * interval '5 minutes', {listed}"  # noqa: S608
        f" FROM (SELECT * FROM {events} ORDER BY pgh_id LIMIT 1) one, generate_series(1, %s) i",
        [TRAIL // len(TRAILS)],
    )


TRAILS = (
    "audit_clientevent", "audit_runtimeevent", "audit_personevent", "audit_seccompprofileevent", "audit_actevent",
)  # fmt: skip
# One for each hour of a year, so that the list is as long. They are copies, which no verification accepts.
SEALS = """
    INSERT INTO audit_seal (sequence, period_from, period_to, count, columns, root, previous, hash, created_at, key,
        signature, statement)
    SELECT sequence + i, now() - (8760 - i) * interval '1 hour', now() - (8759 - i) * interval '1 hour', count, columns,
        root, previous, hash, now() - (8759 - i) * interval '1 hour', key, signature, statement
    FROM (SELECT * FROM audit_seal ORDER BY sequence DESC LIMIT 1) one, generate_series(1, 8759) i
"""
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
    (
        "INSERT INTO executions_egressrequest (execution_id, at, method, host, port, allowed, reason, ended_at, status,"
        " cut, bytes_sent, bytes_received) SELECT id, started_at, 'GET', 'example.com', 443, true, '', ended_at, 200,"
        " false, 500, 20000 FROM (SELECT id, started_at, ended_at FROM executions_execution ORDER BY id DESC"
        " LIMIT 100000) latest",
        [],
    ),
    (
        "INSERT INTO usage_storedsample (hour, client_id, bytes) SELECT date_trunc('hour', now()) - i * interval"
        " '1 hour', id, 100000 * (8760 - i) FROM executions_client, generate_series(1, 8759) i",
        [],
    ),
    (
        "INSERT INTO usage_refusal (hour, client_id, runtime_id, kind, count) SELECT date_trunc('hour', now()) -"
        " i * interval '1 hour', c.id, r.id, (array['rate', 'daily', 'open'])[1 + i %% 3], 1 + i %% 7"
        " FROM executions_client c, (SELECT id FROM runtimes_runtime WHERE enabled) r, generate_series(1, 8759, 5) i",
        [],
    ),
    (
        "INSERT INTO alerts_alert (rule_id, rule_name, condition, severity, subject, value, detail, link, state, since,"
        " fired_at, resolved_at, resolution) SELECT r.id, r.name, r.condition, r.severity, 'client ' || i %% 9, i, '',"
        " '', 'resolved', at, at, at + interval '9 minutes', 'the condition is no longer met' FROM"
        " (SELECT *, row_number() OVER () AS number FROM alerts_rule) r, (SELECT i, now() - i * interval '25 minutes'"
        " AS at FROM generate_series(1, %s) i) times WHERE r.number = 1 + i %% 5",
        [ALERTS],
    ),
    (
        "INSERT INTO alerts_notification (kind, channel_name, lines, requested_by, status, host, attempt_count,"
        " last_answer, created_at, finished_at) SELECT 'alerts', 'on call', '[]', '', 'delivered', 'mail', 1, '250 OK',"
        " at, at FROM (SELECT now() - i * interval '25 minutes' AS at FROM generate_series(1, %s) i) times",
        [ALERTS],
    ),
)
