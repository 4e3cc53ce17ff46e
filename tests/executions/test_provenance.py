"""The columns that say what a run was made of: named once, the same in a sandbox and in its execution."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from executions import representation
from executions.configuration import COLUMNS
from executions.models import STARTED_BY, STARTED_FROM, Execution
from sandboxes.models import Sandbox

LISTED = re.compile(r"profile_name\W[^\n]*\n?[^\n]*profile_revision\W[^\n]*\n?[^\n]*profile_sha256")
# Where each column is described by itself: two models, the API's answer, a configuration, and the order of a page.
DESCRIBED = {
    "executions/configuration.py",
    "executions/models/execution.py",
    "executions/models/provenance.py",
    "sandboxes/models.py",
    "sandboxes/pool.py",
    "sandboxes/admin.py",
    "executions/representation.py",
}


def test_the_list_stands_in_one_place() -> None:
    paths = [path.relative_to(settings.BASE_DIR) for path in Path(settings.BASE_DIR).glob("[a-z]*/**/*.py")]
    listing = {str(path) for path in paths if LISTED.search((settings.BASE_DIR / path).read_text())}
    listing = {path for path in listing if not path.startswith("tests/") and "/migrations/" not in path}
    assert listing - DESCRIBED == set()


@pytest.mark.parametrize("name", [*STARTED_FROM, *STARTED_BY])
def test_an_execution_can_hold_what_its_sandbox_says(name: str) -> None:
    here, there = Execution._meta.get_field(name), Sandbox._meta.get_field(name)
    assert type(here) is type(there)
    assert (here.max_length, here.null) == (there.max_length, there.null)


def test_a_pinned_run_takes_all_that_its_sandbox_is_started_from() -> None:
    assert set(STARTED_FROM) < set(COLUMNS) <= {field.name for field in Execution._meta.fields}


def test_an_execution_shows_what_its_sandbox_was_started_from() -> None:
    assert {*STARTED_FROM, *STARTED_BY} < set(representation.SMALL)
