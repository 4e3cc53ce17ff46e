"""Profiles on real sandboxes, through the whole platform."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live import Platform, eventually
from tests.seccomp_profiles.test_validators import deny, profile

pytestmark = pytest.mark.needs_docker

MAKE_FOLDERS = {
    "python": """
import os
def made(name, mode):
    try:
        os.mkdir("/tmp/" + name, mode)
        return "made"
    except OSError as e:
        return os.strerror(e.errno)
def main():
    return [made("open", 0o755), made("closed", 0o700)]
""",
    "nodejs": """
const fs = require('fs');
function made(name, mode) {
  try { fs.mkdirSync('/tmp/' + name, { mode }); return 'made'; } catch (e) { return e.code; }
}
function main() { return [made('open', 0o755), made('closed', 0o700)]; }
""",
}
REFUSED = {"python": "Operation not permitted", "nodejs": "EPERM"}
NO_MKDIR = profile(deny("mkdir", "mkdirat"))
CLOSED = {"index": 1, "value": 0o700, "op": "SCMP_CMP_EQ"}
NO_CLOSED_MKDIR = profile(deny("mkdir", args=[CLOSED]), deny("mkdirat", args=[CLOSED | {"index": 2}]))


@pytest.fixture(autouse=True)
def code_that_makes_folders(platform: Platform) -> Iterator[None]:
    """RAGFlow's list of forbidden calls would stop it before any filter does."""
    before = platform.sql(
        "SELECT slug, ragflow_code_policy FROM runtimes_runtime WHERE slug = ANY(%s)", list(MAKE_FOLDERS)
    )
    for slug in MAKE_FOLDERS:
        platform.change_runtime(slug, ragflow_code_policy="off")
    yield
    for row in before:
        platform.change_runtime(row["slug"], ragflow_code_policy=row["ragflow_code_policy"])


@pytest.fixture
def quiet(platform: Platform) -> Iterator[int]:
    """The profile of both runtimes; it denies mkdir."""
    created = platform.create_profile("quiet", NO_MKDIR)
    for language in MAKE_FOLDERS:
        platform.change_runtime(language, seccomp_profile_id=created)
    yield created
    for language in MAKE_FOLDERS:
        platform.change_runtime(language, seccomp_profile_id=None)
    platform.sql("DELETE FROM seccomp_profiles_seccompprofile WHERE id = %s", created)


def folders_of(platform: Platform, language: str) -> list[str]:
    answer = platform.run(MAKE_FOLDERS[language], language)
    return list(answer["result"]["value"])


@pytest.mark.parametrize("language", MAKE_FOLDERS)
def test_call_that_the_profile_denies_gets_eperm(platform: Platform, quiet: int, language: str) -> None:
    assert folders_of(platform, language) == [REFUSED[language]] * 2
    assert platform.last_execution()["profile_revision"] == 1


@pytest.mark.parametrize("language", MAKE_FOLDERS)
def test_condition_on_an_argument_holds(platform: Platform, quiet: int, language: str) -> None:
    sha256 = platform.add_revision(quiet, NO_CLOSED_MKDIR)
    assert folders_of(platform, language) == ["made", REFUSED[language]]
    execution = platform.last_execution()
    assert (execution["profile_revision"], execution["profile_sha256"]) == (2, sha256)


def test_profile_of_a_client_goes_before_the_runtimes(platform: Platform) -> None:
    created = platform.create_profile("of-the-client", NO_MKDIR)
    platform.sql("UPDATE executions_client SET seccomp_profile_id = %s WHERE name = 'ragflow'", created)
    try:
        assert folders_of(platform, "python") == [REFUSED["python"]] * 2
    finally:
        platform.sql("UPDATE executions_client SET seccomp_profile_id = NULL")
        platform.sql("DELETE FROM seccomp_profiles_seccompprofile WHERE id = %s", created)
    execution = platform.last_execution()
    assert (execution["profile_name"], execution["warm"]) == ("of-the-client", False)


ACTIVATE = """
from seccomp_profiles import activation, revisions
from seccomp_profiles.models import SeccompProfile
revision = revisions.add_revision(SeccompProfile.objects.get(name="quiet"), {rules!r})
activation.activate(revision, by="a test", override="there is no probe")
print(revision.sha256)
"""


def test_activation_under_load_switches_every_run_and_loses_none(platform: Platform, quiet: int) -> None:
    answers: list[dict[str, Any]] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            answers.append(platform.run(MAKE_FOLDERS["python"]))

    started = platform.sql("SELECT now() AS at")[0]["at"]
    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    try:
        eventually(lambda: len(answers) >= len(callers), "some have run before")
        sha256 = platform.manage("shell", "-c", ACTIVATE.format(rules=NO_CLOSED_MKDIR)).splitlines()[-1]
        activated = platform.sql("SELECT now() AS at")[0]["at"]
        done = len(answers)
        eventually(lambda: len(answers) >= done + 2 * len(callers), "some have run after it")
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    executions = platform.sql("SELECT * FROM executions_execution WHERE queued_at >= %s", started)
    assert len(answers) == len(executions)
    assert {execution["status"] for execution in executions} == {"succeeded"}
    after = [execution for execution in executions if execution["claimed_at"] >= activated]
    assert {execution["profile_sha256"] for execution in after} == {sha256}
    assert 0 < len(after) < len(executions)
    made = [json.loads(execution["result"]) for execution in after]
    assert made == [["made", REFUSED["python"]]] * len(after)
