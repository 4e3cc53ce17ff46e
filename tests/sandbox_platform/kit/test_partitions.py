"""The index of a table that may be partitioned, on a table of this test."""

from collections.abc import Iterator

import pytest
from django.db import connection, models
from django.db.migrations.state import ModelState, ProjectState

from sandbox_platform.kit.partitions import AddIndexToHistory

TABLE = "kit_of_this_test"
INDEX = models.Index(fields=["name"], condition=~models.Q(name=""), name="kit_of_this_test_name_idx")


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture(params=["", " PARTITION BY RANGE (id)"], ids=["one table", "partitioned"])
def parts(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[int]:
    """The number of the table's partitions."""
    execute(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, name text NOT NULL){request.param}")
    if request.param:
        execute(
            f"CREATE TABLE {TABLE}_a PARTITION OF {TABLE} FOR VALUES FROM (0) TO (10)",
            f"CREATE TABLE {TABLE}_b PARTITION OF {TABLE} DEFAULT",
        )
    yield 2 if request.param else 0
    execute(f"DROP TABLE {TABLE}")


def valid_indexes() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indisvalid AND NOT indisprimary"
            " AND indrelid::regclass::text LIKE %s ORDER BY 1",
            [f"{TABLE}%"],
        )
        return [name for (name,) in cursor.fetchall()]


def test_the_index_is_made_on_each_partition_and_goes_again(parts: int) -> None:
    state = ProjectState()
    fields = [("id", models.BigIntegerField(primary_key=True)), ("name", models.TextField())]
    state.add_model(ModelState("kit", "OfThisTest", fields, options={"db_table": TABLE}))
    operation = AddIndexToHistory("ofthistest", INDEX)
    after = state.clone()
    operation.state_forwards("kit", after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("kit", editor, state, after)
    assert valid_indexes() == [INDEX.name, *(f"{INDEX.name}_{number}" for number in range(parts))]
    with connection.schema_editor(atomic=False) as editor:
        operation.database_backwards("kit", editor, after, state)
    assert valid_indexes() == []
