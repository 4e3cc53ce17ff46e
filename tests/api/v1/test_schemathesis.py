"""schemathesis against the served schema: every check, every phase, over HTTP, with programs that really run.

It walks from endpoint to endpoint along the schema's links, as a caller, an auditor or an administrator: `make test`
takes the role that the hash of the commit selects, `make test-all` takes all three. The seed is fixed, so that a
change that breaks nothing finds nothing. To look further:

    FUZZ_SEED=2 FUZZ_EXAMPLES=100 make test-all ARGS=tests/api/v1/test_schemathesis.py
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import ROOT, Platform
from tests.scheduling import FIGURE

pytestmark = [pytest.mark.needs_docker, pytest.mark.timeout(3600)]

SEED = os.environ.get("FUZZ_SEED", "1")
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "2")  # of each operation, beside those of its examples and bounds
# The administrator last: it changes what the others run on.
ROLES = ("caller", "auditor", "administrator")
AT_LEAST = 5000  # by all of them together
EACH_AT_LEAST = 1000
SUBMITTED_AT_LEAST = 3
CONFIGURATION = "tests/api/v1/schemathesis.toml"
# The allowances bound how many sandboxes the machine has to start, and how long a request may have to wait.
CLIENTS = """
from clients.models import Client, Role
from sandbox_platform.kit.formats import FORMATS
for role in Role:
    Client.objects.create_with_token(
        role, role.value * 4, role=role, max_runs_per_minute=12, max_open_executions=12, max_wall_time_ms=2000,
        formats=[format.name for format in FORMATS],
    )
"""
# One build at a time on a node, and this one lasts as long as Postgres: what is asked for are random names of
# packages, for which no mirror is to be searched.
ENDLESS_BUILD = """
    INSERT INTO runtimes_runtimebuild (runtime_id, number, kind, packages, base, base_image_id, image_id, digest,
        node, state, progress, log, error, requested_by, created_at, started_at, worker_backend)
    SELECT r.id, 1, 'packages', '{}', r.image, '', '', '', %s, 'building', '', '', '', '', now(), now(), a.pid
    FROM runtimes_runtime r, pg_stat_activity a WHERE r.slug = 'awk' AND a.backend_type = 'checkpointer'
"""


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = Platform(tmp_path_factory.mktemp("fuzzed"), SANDBOX_WORKERS="2")
    try:
        running.start("python", "nodejs")
        running.manage("shell", "-c", CLIENTS)
        # The name that generated texts begin with.
        running.sql("UPDATE runtimes_runtime SET aliases = aliases || '{0}' WHERE slug = 'python'")
        running.keep_one_smoke_program()
        running.sql(ENDLESS_BUILD, running.node)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def ran() -> dict[str, int]:
    """How many examples, by role."""
    return {}


def schemathesis(platform: Platform, role: str, folder: Path) -> tuple[dict[str, Any], str]:
    """Its report, and what it says."""
    report = folder / "report.json"
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            "--config-file", CONFIGURATION,
            "run", f"{platform.url}/openapi.json",
            "--header", f"Authorization: Bearer {role * 4}",
            "--checks", "all",
            "--max-examples", EXAMPLES,
            "--seed", SEED,
            "--generation-database", "none",
            "--continue-on-failure",
            "--no-shrink",
            "--warnings", "off",
            # A request may wait ten seconds for its run, and no time decides a test.
            "--max-response-time", "60",
            "--report", "json",
            "--report-json-path", report,
            "--no-color",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert report.exists(), said
    return json.loads(report.read_text()), said


def chosen_roles() -> list[str]:
    """Those of FUZZ_ROLES, or the one of the commit that is checked out; all of them where there is no commit."""
    if names := os.environ.get("FUZZ_ROLES"):
        return names.split(",")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return list(ROLES)
    return [ROLES[int(head.stdout, 16) % len(ROLES)]]


@pytest.mark.parametrize("role", chosen_roles())
def test_nothing_is_found(
    fuzzed: Platform,
    ran: dict[str, int],
    role: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    report, said = schemathesis(fuzzed, role, tmp_path)
    ran[role] = report["test_cases"]["generated"]
    record_property(FIGURE, f"schemathesis, seed {SEED}: {ran[role]:,} examples as {role}")
    assert report["exit_code"] == 0, said
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}, said
    if role != "auditor":
        accepted = [phase["accepted"] for phase in report["valid_rates"]["POST /api/v1/executions"].values()]
        assert sum(accepted) >= SUBMITTED_AT_LEAST


def test_as_many_examples_as_promised(ran: dict[str, int]) -> None:
    assert min(ran.values()) >= EACH_AT_LEAST
    if set(ran) == set(ROLES):
        assert sum(ran.values()) >= AT_LEAST
