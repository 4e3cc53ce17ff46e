"""Read and set the pool of the stack under test through its database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


class Pool:
    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)

    @contextmanager
    def size(self, slug: str, minimum: int, maximum: int) -> Iterator[None]:
        """Set this runtime's pool and empty all others. Restores the sizes on exit."""
        before = self._connection.execute("SELECT pool_min, pool_max, slug FROM runtimes_runtime").fetchall()
        self._set([(minimum, maximum, slug) if row[2] == slug else (0, 0, row[2]) for row in before])
        try:
            yield
        finally:
            self._set(before)

    def _set(self, sizes: list[tuple[int, int, str]]) -> None:
        for size in sizes:
            self._connection.execute(
                "UPDATE runtimes_runtime SET pool_min = %s, pool_max = %s WHERE slug = %s", size
            )
        self._connection.execute("NOTIFY sandbox_pool")

    def settle(self, slug: str, size: int, *, preloaded: bool = True, patience_s: float = 120) -> None:
        """Wait until the runtime has at least `size` ready sandboxes and there are no others, then let them preload.

        With `size` 0, wait until it has none. Raises TimeoutError after `patience_s` seconds.
        """
        deadline = time.monotonic() + patience_s
        while not self._rested(slug, size):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the pool of {slug} is {self._states()}, not {size} ready")
            time.sleep(0.05)
        time.sleep(2.5 if preloaded and size else 0.2)

    def _rested(self, slug: str, size: int) -> bool:
        states = self._states()
        ready = states.pop((slug, "ready"), 0)
        return not states and (ready >= size if size else ready == 0)

    def _states(self) -> dict[tuple[str, str], int]:
        rows = self._connection.execute(
            "SELECT r.slug, s.state, count(*) FROM executions_sandbox s"
            " JOIN runtimes_runtime r ON r.id = s.runtime_id GROUP BY 1, 2"
        )
        return {(slug, state): number for slug, state, number in rows}

    def images(self) -> dict[str, str]:
        return dict(self._connection.execute("SELECT slug, image FROM runtimes_runtime").fetchall())
