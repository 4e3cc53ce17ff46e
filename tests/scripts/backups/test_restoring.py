"""An installation that was destroyed comes back, with history, seals and tokens."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from scripts.setup.backups import restoring, taking
from scripts.setup.host import SetupError
from tests.scripts.backups.plain import PROGRAMS, Plain

TOKEN = "of-the-agent-0123456789abcdef"
PREPARE = f"""
from django.core.management import call_command
from clients.models import Client
from runtimes.models import Runtime
call_command("grant_roles")
call_command("seal_key", make=True)
client, _ = Client.objects.create_with_token("agent", {TOKEN!r})
Runtime.objects.filter(slug="nodejs").update(enabled=True)
"""
RUN = """
from django.utils import timezone
from django.core.management import call_command
from clients.models import Client
from executions.models import Execution, Outcome, Status
from runtimes.models import Runtime
now, runtime = timezone.now(), Runtime.objects.get(slug="python")
Execution.objects.create(
    runtime=runtime, client=Client.objects.get(name="agent"), endpoint="api", mode="script", code="print({n})",
    code_sha256="0" * 64, stdout="{n}", status=Status.SUCCEEDED, outcome=Outcome.COMPLETED, queued_at=now,
    enqueued_at=now, finished_at=now, runtime_revision=runtime.revision, limits=runtime.limits.as_dict())
call_command("seal")
"""


FINGERPRINT = re.compile(r"^[0-9a-f]{64}\b", re.MULTILINE)


def outputs(installation: Plain) -> list[str]:
    return installation.server().sql("SELECT stdout FROM executions_execution ORDER BY id").splitlines()


class Story:
    """A backup after the first run, and what was said and seen on the way."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = Plain(folder / "first"), Plain(folder / "second")
        self.archive = folder / "backup.tar"
        self.key = ""
        self.said: dict[str, str] = {}


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    story = Story(tmp_path_factory.mktemp("backup"))
    for installation in (story.first, story.second):
        installation.root.mkdir()
    story.first.make()
    try:
        story.key = FINGERPRINT.findall(story.first.python(PREPARE + RUN.replace("{n}", "1")))[0]
        with (story.first.root / ".env").open("a") as env:
            env.write(f"SANDBOX_SEAL_FINGERPRINT={story.key}\n")
        taking.take(story.first, story.archive, [])
        yield story
    finally:
        story.first.postgres.stop()
        story.second.postgres.stop()


def restore(installation: Plain, archive: Path) -> str:
    with restoring.opened(archive) as (manifest, folder):
        return restoring.restore(installation, manifest, folder)


@pytest.fixture(scope="module")
def over_itself(backed_up: Story) -> Plain:
    """Restored where another run and another seal had followed."""
    backed_up.first.python(RUN.replace("{n}", "2"))
    assert outputs(backed_up.first) == ["1", "2"]
    backed_up.said["over itself"] = restore(backed_up.first, backed_up.archive)
    return backed_up.first


@pytest.fixture(scope="module")
def anew(over_itself: Plain, backed_up: Story) -> Plain:
    """Restored where nothing was, after the first machine was destroyed."""
    over_itself.postgres.stop()
    shutil.rmtree(over_itself.root)
    backed_up.said["anew"] = restore(backed_up.second, backed_up.archive)
    return backed_up.second


def test_what_followed_the_backup_is_gone_from_a_restored_installation(over_itself: Plain) -> None:
    assert outputs(over_itself) == ["1"]


def test_seals_state_which_of_them_the_backup_replaced(over_itself: Plain, backed_up: Story) -> None:
    said = backed_up.said["over itself"]
    assert "a backup was restored. The seals of before, up to 2:" in said
    assert "All rows match their seals" in said


def test_database_of_before_is_gone(over_itself: Plain) -> None:
    names = over_itself.server().sql("SELECT datname FROM pg_database WHERE NOT datistemplate")
    assert sorted(names.splitlines()) == ["postgres", "sandbox"]


def test_failed_restore_leaves_the_database_of_before(
    over_itself: Plain, backed_up: Story, tmp_path: Path
) -> None:
    with restoring.opened(backed_up.archive) as (manifest, folder):
        dump = (folder / taking.DUMP).read_bytes()
        (tmp_path / "half").write_bytes(dump[: len(dump) // 2])
        with pytest.raises(SetupError, match="restoring the database"):
            over_itself.server().replace(tmp_path / "half", manifest)
    assert outputs(over_itself) == ["1"]


def test_dump_of_a_newer_postgres_is_refused(over_itself: Plain, backed_up: Story) -> None:
    with restoring.opened(backed_up.archive) as (manifest, folder):
        newer = taking.Manifest(**{**vars(manifest), "postgres": 99})
        with pytest.raises(SetupError, match="Postgres 99"):
            over_itself.server().replace(folder / taking.DUMP, newer)


def test_history_comes_back_on_another_machine(anew: Plain) -> None:
    assert outputs(anew) == ["1"]


def test_seals_verify_with_the_first_key(anew: Plain, backed_up: Story) -> None:
    assert f"First key: {backed_up.key}" in backed_up.said["anew"]
    assert "not compared" not in backed_up.said["anew"]
    assert "All rows match their seals" in backed_up.said["anew"]


def test_the_key_goes_on_signing(anew: Plain, backed_up: Story) -> None:
    anew.python(RUN.replace("{n}", "3"))
    assert anew.server().sql("SELECT DISTINCT key FROM audit_seal").split() == [backed_up.key]
    assert Path(anew.seal_key()).stat().st_mode & 0o777 == 0o600


def test_tokens_open_the_api(anew: Plain) -> None:
    (refused, _), (status, page) = anew.get("/api/v1/executions", "another-token", TOKEN)
    assert (refused, status) == (401, 200)
    assert page["results"][-1]["runtime"] == "python"


def test_settings_and_secrets_come_back(anew: Plain) -> None:
    assert "SANDBOX_CALLBACK_KEY=callbacks-of-backup-tests" in (anew.root / ".env").read_text()
    assert (anew.root / ".env").stat().st_mode & 0o777 == 0o600
    assert (anew.root / ".secrets" / "egress").read_text() == "secret of gateway and proxy"
    assert (anew.root / ".secrets").stat().st_mode & 0o777 == 0o700


def test_services_have_their_rights_and_no_others(anew: Plain) -> None:
    with psycopg.connect(
        anew.environment("worker")["DATABASE_URL"], user="sandbox_worker", password="of-worker"
    ) as c:
        c.execute("SELECT count(*) FROM executions_execution")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute("SELECT * FROM executions_token")


def test_queue_policies_come_back(anew: Plain) -> None:
    count = anew.server().sql("SELECT count(*) FROM pg_policies WHERE tablename = 'django_q_ormq'")
    assert int(count) == 20


def test_runtimes_without_an_image_are_named_with_the_remedy(anew: Plain, backed_up: Story) -> None:
    with restoring.opened(backed_up.archive) as (_, folder):
        said = list(restoring.missing_images(anew, folder))
    assert any("nodejs is not on this machine: make build RUNTIMES=nodejs" in line for line in said)
    assert not any("runtime python" in line for line in said)


def test_the_archive_holds_one_dump_that_postgres_reads(backed_up: Story) -> None:
    with restoring.opened(backed_up.archive) as (manifest, folder):
        listed = subprocess.run(
            [f"{PROGRAMS}pg_restore", "--list", folder / taking.DUMP], capture_output=True, text=True
        )
        assert manifest.executions == 1
    assert "TABLE DATA public executions_execution" in listed.stdout
