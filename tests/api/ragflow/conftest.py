from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.live import Platform

ChangeLimits = Callable[..., None]


@pytest.fixture
def set_columns(platform: Platform) -> Iterator[ChangeLimits]:
    """Changes columns of a runtime that are read for every run, and puts them back.

    Without a new revision: what the host enforces needs no new sandboxes, and those take seconds to start.
    """
    before: list[tuple[str, dict[str, Any]]] = []

    def update(slug: str, values: dict[str, Any]) -> None:
        columns = ", ".join(f"{name} = %s" for name in values)
        platform.sql(f"UPDATE runtimes_runtime SET {columns} WHERE slug = %s", *values.values(), slug)

    def change(slug: str, **values: Any) -> None:
        row = platform.sql(f"SELECT {', '.join(values)} FROM runtimes_runtime WHERE slug = %s", slug)[0]
        before.append((slug, row))
        update(slug, values)

    yield change
    for slug, values in reversed(before):
        update(slug, values)


@pytest.fixture
def no_policy(set_columns: ChangeLimits) -> None:
    """The code policy refuses most attacks before gVisor sees them; here it is gVisor that is tried."""
    for slug in ("python", "nodejs"):
        set_columns(slug, ragflow_code_policy="off")


@pytest.fixture
def short_runs(set_columns):
    """Endless programs are waited for; a second is as good as five."""
    for slug in ("python", "nodejs"):
        set_columns(slug, wall_time_ms=1500)
