import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit import queries
from audit.admin import paging
from audit.models.changes import EVENTS
from clients.models import Client
from runtimes.models import Runtime

pytestmark = pytest.mark.django_db
LIST = reverse("admin:audit_trailentry_changelist")
RUNTIME = "runtimes.Runtime"


@pytest.fixture
def changes(python_runtime: Runtime) -> Runtime:
    for number in range(120):
        Runtime.objects.filter(pk=python_runtime.pk).update(name=f"Python {number}")
    return python_runtime


def plan(entries: Any, **settings: str) -> str:
    sql, parameters = entries.query.sql_with_params()
    with connection.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
        cursor.execute(f"EXPLAIN {sql}", parameters)
        return "\n".join(line for (line,) in cursor.fetchall())


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def shown(response: Any) -> list[str]:
    return [entry.pk for entry in response.context["cl"].result_list]


def test_newest_entries_are_merged_from_an_index_of_each_table() -> None:
    keys = queries.trail().values_list("pgh_slug", flat=True)[:50]
    found = plan(keys, enable_seqscan="off", enable_sort="off")
    assert "Merge Append" in found
    assert found.count("event_at_idx") == len(EVENTS)


def test_texts_are_found_by_an_index_of_each_table() -> None:
    """A new watched table needs one, too: migrations/trail_indexes.sql."""
    keys = queries.containing(queries.trail(), "nowhere").values_list("pgh_slug", flat=True)
    assert plan(keys, **queries.LOOK_UP).count("event_text") == len(EVENTS)


def test_what_is_about_a_person_is_found_by_an_index_of_each_table(administrator: User) -> None:
    keys = queries.about(queries.trail(), "admin").values_list("pgh_slug", flat=True)
    found = plan(keys, **queries.LOOK_UP)
    assert found.count("event_text") >= len(EVENTS)
    assert "Seq Scan" not in found


def test_a_range_is_read_by_an_index_of_each_table() -> None:
    since = timezone.now() - timedelta(days=7)
    keys = queries.trail().filter(pgh_created_at__gte=since).values_list("pgh_slug", flat=True)[:50]
    found = plan(keys, enable_seqscan="off", enable_sort="off")
    assert found.count("event_at_idx") == found.count("Index Cond: (pgh_created_at >=") == len(EVENTS)


def test_only_the_entries_of_the_page_are_read(browser: Browser, changes: Runtime) -> None:
    with CaptureQueriesContext(connection) as captured:
        response = browser.get(LIST, {"p": "2"})
    assert shown(response) == list(queries.trail().values_list("pgh_slug", flat=True)[50:100])
    read = [query["sql"] for query in captured if query["sql"].rpartition(")\n")[2].count("pgh_diff")]
    assert len(read) == 1
    assert '"pgh_id" IN (' in read[0]


def test_as_many_statements_for_a_long_trail(browser: Browser, python_runtime: Runtime) -> None:
    browser.get(LIST)
    with CaptureQueriesContext(connection) as few:
        browser.get(LIST)
    for number in range(60):
        Client.objects.create(name=f"c{number}")
    with CaptureQueriesContext(connection) as many:
        browser.get(LIST)
    assert len(many) == len(few)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.7", 1), ("10.0.0.8", 0), ("0.7,", 1), ("say \"hi\"", 1), ("MÜLLER", 1), ("100%", 1), ("100_", 0),
        ("back\\slash", 1), ("x10Q0Z0", 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("walking", [True, False])
def test_a_text_is_found_as_it_is_written(
    python_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, text: str, found: int, walking: bool
) -> None:
    name = 'say "hi" to Müller at 10.0.0.7, 100% back\\slash'
    Runtime.objects.filter(pk=python_runtime.pk).update(environment={"A": name})
    if not walking:
        within = queries._within
        monkeypatch.setattr(
            queries, "_within", lambda keys, how, ms: None if how is queries.WALK else within(keys, how, 60_000)
        )
    entries = queries.trail().filter(pgh_obj_model=RUNTIME)
    assert len(queries.newest(queries.containing(entries, text), 10)) == found


def test_of_many_matches_the_list_has_the_newest(
    browser: Browser, changes: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "LISTED", 60)
    response = browser.get(LIST, {"q": "Python", "p": "2"})
    assert response.context["cl"].result_count == 60
    assert shown(response) == list(
        queries.trail().filter(pgh_obj_model=RUNTIME).values_list("pgh_slug", flat=True)[50:60]
    )
    assert messages_of(response) == [paging.CUT]


def test_a_text_that_takes_too_long_is_said(
    browser: Browser, changes: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_within", lambda keys, how, ms: None)
    response = browser.get(LIST, {"q": "Python"})
    assert response.context["cl"].result_count == 0
    assert messages_of(response) == [paging.TOO_FREQUENT]


class Slow:
    def __iter__(self) -> Iterator[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")
        return iter(())


def test_a_statement_is_ended_in_time_and_leaves_no_setting() -> None:
    def settings() -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout'), current_setting('enable_seqscan')")
            return list(cursor.fetchone())

    before = settings()
    assert queries._within(Slow(), queries.WALK, 50) is None
    assert queries._within(["one"], queries.WALK, 60_000) == ["one"]
    assert settings() == before


def test_all_matches_are_shown_on_one_page_if_asked(browser: Browser, changes: Runtime) -> None:
    response = browser.get(LIST, {"q": "Python", "all": ""})
    assert len(response.context["cl"].result_list) == response.context["cl"].result_count > 100


def test_who_did_it_is_looked_for_in_names_only(python_runtime: Runtime) -> None:
    Runtime.objects.filter(pk=python_runtime.pk).update(name="of mallory")
    assert not queries.made_by(queries.trail(), "mallory").exists()
    assert queries.made_by(queries.trail(), "sandbox").count() == queries.number()


@pytest.mark.parametrize(
    "slug", ["audit.RuntimeEvent", "audit.RuntimeEvent:x", "audit.Nothing:1", ":", "1:1:1", "²:²"]
)
def test_what_is_no_key_names_no_entry(python_runtime: Runtime, slug: str) -> None:
    assert queries.named([slug]) == []


def test_a_page_of_json_is_no_key(browser: Browser) -> None:
    assert browser.get(f"{LIST}{json.dumps({})}/change/").status_code in (302, 404)
