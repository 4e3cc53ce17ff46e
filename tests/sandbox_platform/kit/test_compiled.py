from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.db.models import Value

from clients.models import Client, Token
from sandbox_platform.kit.compiled import Compiled

NAMED = Compiled(lambda name: Client.objects.filter(name=name), name="-")


@pytest.fixture
def clients(db: None) -> list[Client]:
    return [Client.objects.create(name=name) for name in ("a", "b")]


def test_rows_are_those_of_the_given_values(clients: list[Client]) -> None:
    assert [NAMED(name=name) for name in ("a", "b", "c")] == [[clients[0]], [clients[1]], []]


def test_rows_are_read_anew_each_time(clients: list[Client]) -> None:
    assert NAMED(name="a")[0].enabled
    Client.objects.update(enabled=False)
    assert not NAMED(name="a")[0].enabled


def test_related_rows_and_annotations_come_along(clients: list[Client], django_assert_num_queries: Any) -> None:
    Client.objects.create_with_token("c", "token")
    token = Token.objects.get()
    rows = Token.objects.select_related("client").annotate(four=Value(4))
    of = Compiled(lambda pk: rows.filter(pk=pk), pk=-1)
    with django_assert_num_queries(1):
        (found,) = of(pk=token.pk)
        assert (found.client.name, found.four) == ("c", 4)


def test_deferred_columns_are_read_when_asked_for(clients: list[Client]) -> None:
    (found,) = Compiled(lambda name: Client.objects.only("name").filter(name=name), name="-")(name="a")
    assert found.get_deferred_fields()
    assert found.enabled


def test_values_are_bound_and_not_pasted(clients: list[Client]) -> None:
    assert NAMED(name="a' OR '1'='1") == []


def test_sample_that_no_sql_binds_is_a_mistake(db: None) -> None:
    unused: Compiled[Client] = Compiled(lambda name: Client.objects.all(), name="-")
    with pytest.raises(ValueError, match="does not bind name"):
        unused(name="a")


def test_missing_value_is_a_mistake(clients: list[Client]) -> None:
    with pytest.raises(KeyError):
        NAMED()


def test_each_thread_has_its_own_connection(transactional_db: None) -> None:
    Client.objects.create(name="a")
    NAMED(name="a")

    def pid(_: int) -> tuple[list[Client], int]:
        try:
            return NAMED(name="a"), connection.connection.info.backend_pid
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(pid, range(2)))
    assert all(rows for rows, _ in found)
    assert connection.connection.info.backend_pid not in {backend for _, backend in found}
