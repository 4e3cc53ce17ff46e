import csv
import json
import tracemalloc
from io import StringIO

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit import export, queries
from clients.models import Client
from runtimes.models import Runtime
from sandbox_platform.kit.exports import MEDIA_TYPES
from seccomp_profiles import revisions
from tests.conftest import Visitor

pytestmark = pytest.mark.django_db
LIST = reverse("admin:audit_trailentry_changelist")
MANY = 230


@pytest.fixture
def changes(python_runtime: Runtime) -> Runtime:
    for number in range(1, MANY):
        Runtime.objects.filter(pk=python_runtime.pk).update(name=f"Python {number}")
    return python_runtime


@pytest.fixture
def one_change(python_runtime: Runtime) -> Runtime:
    python_runtime.name = "Another"
    python_runtime.save()
    return python_runtime


def exported(browser: Browser, kind: str, **query: str) -> str:
    response = browser.get(reverse("admin:audit_trailentry_export", args=[kind]), query)
    assert response.status_code == 200
    return bytes(response.getvalue()).decode()


def names(text: str) -> list[str]:
    rows = [json.loads(line) for line in text.splitlines()]
    return [row["columns"]["name"]["after"] for row in rows if "name" in row["columns"]]


def test_every_change_comes_once_and_in_order(changes: Runtime) -> None:
    found = names("".join(export.lines(export.in_order(queries.trail()), "jsonl")))
    assert found == ["Python 3.13", *(f"Python {number}" for number in range(1, MANY))]


@pytest.mark.django_db(transaction=True)  # within one transaction all changes are of one time
def test_tables_are_merged_by_time(one_change: Runtime) -> None:
    Client.objects.create(name="later")
    one_change.name = "Last"
    one_change.save()
    times = [entry.pgh_created_at for entry in export.in_order(queries.trail())]
    assert times == sorted(times)
    assert [entry.what for entry in export.in_order(queries.trail())][-2:] == ["client later", "runtime python"]


def test_each_chunk_reads_along_the_index(changes: Runtime) -> None:
    with CaptureQueriesContext(connection) as captured:
        sum(1 for _ in export.in_order(queries.trail()))
    tables = len(export.EVENTS)
    assert len(captured) <= tables + MANY // export.CHUNK + 1


def test_memory_does_not_grow_with_the_trail(python_runtime: Runtime) -> None:
    def peak_after(changes: int) -> int:
        for number in range(changes):
            Runtime.objects.filter(pk=python_runtime.pk).update(environment={"A": f"{number} {'x' * 20_000}"})
        tracemalloc.start()
        assert sum(1 for _ in export.lines(export.in_order(queries.trail()), "jsonl")) > changes
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few = peak_after(2 * export.CHUNK)
    assert peak_after(6 * export.CHUNK) < 1.3 * few


def test_jsonl_has_before_and_after(one_change: Runtime) -> None:
    last = json.loads(list(export.lines(export.in_order(queries.trail()), "jsonl"))[-1])
    assert last["columns"]["name"] == {"before": "Python 3.13", "after": "Another"}
    assert (last["object"], last["change"]) == ("runtime python", "update")
    assert last["database_role"] == "sandbox"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    revisions.create_profile("x", description=text)
    rows = list(
        csv.DictReader(StringIO("".join(export.lines(export.in_order(queries.trail()), "csv")), newline=""))
    )
    assert f"'{text}" in [row["after"] for row in rows]


# --- In the admin ---


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({}, 5),
        ({"object": "clients.Client"}, 1),
        ({"change": "update"}, 1),
        ({"q": "Another"}, 1),
        ({"who": "nobody"}, 0),
        ({"who": "sandbox"}, 5),
        ({"since": "2000-01-01"}, 5),
        ({"since": "2999-01-01"}, 0),
        ({"until": "2000-01-01"}, 0),
        ({"until": "nonsense"}, 5),
        ({"since": "9999-12-31"}, 0),
        ({"range": "1h"}, 5),
        ({"since": "2000-01-01T10:00", "until": "2000-01-02"}, 0),
        ({"p": "1"}, 5),
    ],
)
def test_list_and_export_have_what_is_filtered(
    browser: Browser, one_change: Runtime, query: dict[str, str], count: int
) -> None:
    Client.objects.create(name="one")
    assert browser.get(LIST, query).context["cl"].result_count == count
    lines = [json.loads(line) for line in exported(browser, "jsonl", **query).splitlines()]
    # The export itself is an entry, too.
    assert len([line for line in lines if line["object"] != "audit trail"]) == count


def test_list_leads_to_the_export_of_what_it_shows(browser: Browser, one_change: Runtime) -> None:
    html = browser.get(LIST, {"change": "update"}).content.decode()
    for kind in MEDIA_TYPES:
        assert f"{reverse('admin:audit_trailentry_export', args=[kind])}?change=update" in html


def test_nothing_else_is_exported(browser: Browser) -> None:
    assert browser.get(reverse("admin:audit_trailentry_export", args=["exe"])).status_code == 404


@pytest.mark.parametrize(("role", "status"), [("administrator", 200), ("auditor", 200), ("operator", 403)])
def test_who_may_export(visitor: Visitor, role: str, status: int) -> None:
    assert visitor(role).get(reverse("admin:audit_trailentry_export", args=["csv"])).status_code == status


def test_the_range_is_kept_and_offered(browser: Browser, one_change: Runtime) -> None:
    response = browser.get(LIST, {"range": "7d", "object": "runtimes.Runtime"})
    assert response.context["picker"]["custom"] is False
    (chosen,) = [choice for choice in response.context["picker"]["choices"] if choice["chosen"]]
    assert (chosen["words"], chosen["query"]) == ("7 days", "object=runtimes.Runtime&range=7d")
    assert '<nav class="drill" aria-label="Time range">' in response.content.decode()


def test_a_range_that_is_none_is_said(browser: Browser, one_change: Runtime) -> None:
    html = browser.get(LIST, {"until": "nonsense"}).content.decode()
    assert "until: &#x27;nonsense&#x27; is not a time." in html


def test_long_values_are_compared_line_by_line(browser: Browser, python_runtime: Runtime) -> None:
    environment = {f"NAME_{number}": "same" for number in range(40)}
    Runtime.objects.filter(pk=python_runtime.pk).update(environment=environment)
    Runtime.objects.filter(pk=python_runtime.pk).update(environment=environment | {"NAME_7": "<b>"})
    entry = queries.trail().first()
    assert entry
    html = browser.get(reverse("admin:audit_trailentry_change", args=[entry.pk])).content.decode()
    assert (
        '<div class="diff-insert"><span class="diff-sign">+</span>  &quot;NAME_7&quot;: &quot;&lt;b&gt;&quot;'
        in html
    )
    assert html.count("NAME_30") == 0
