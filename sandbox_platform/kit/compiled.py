"""Querysets that are turned into SQL once per process, for the few queries that every run makes.

Django builds and compiles a queryset anew for each use. For a wide table that takes a millisecond or two, which is
longer than the query itself.
"""

from collections.abc import Callable, Sequence
from copy import copy
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable

from sandbox_platform.kit.prepared import prepared

M = TypeVar("M", bound=Model)


class Compiled(Generic[M]):
    """A queryset whose parameters are given at each call.

    `rows`: returns the queryset for parameters. `samples`: one example for each, all different and none equal to
    another value in the query; where the compiled SQL binds a sample, each call binds its own value.
    """

    def __init__(self, rows: Callable[..., QuerySet[M]], **samples: Any) -> None:
        self._rows, self._samples = rows, samples
        self._compiled: tuple[Any, str, Sequence[Any]] | None = None

    def __call__(self, **values: Any) -> list[M]:
        """Run the query and return its rows. The values have the types of the samples."""
        compiler, sql, names = self._compiled or self._compile()
        bound = tuple(values[value.name] if isinstance(value, _Named) else value for value in names)
        # The compiler knows how to make objects from rows. Each call has its own, as it has its own connection.
        mine = copy(compiler)
        mine.connection = connection
        mine.as_sql = lambda *_, **__: (sql, bound)
        once: Any = SimpleNamespace(
            query=SimpleNamespace(get_compiler=lambda **_: mine),
            db=connection.alias,
            model=self._model,
            _known_related_objects={},
        )
        with prepared():
            return list(ModelIterable(once))

    def _compile(self) -> tuple[Any, str, Sequence[Any]]:
        queryset = self._rows(**self._samples)
        compiler: Any = queryset.query.get_compiler(queryset.db)
        sql, parameters = compiler.as_sql()
        # By type, too: True equals 1.
        named = {(type(sample), sample): _Named(name) for name, sample in self._samples.items()}
        bound = tuple(named.get((type(value), value), value) for value in parameters)
        missing = self._samples.keys() - {value.name for value in bound if isinstance(value, _Named)}
        if missing:
            raise ValueError(f"the query does not bind {', '.join(sorted(missing))}")
        self._model = queryset.model
        self._compiled = (compiler, sql, bound)
        return self._compiled


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name
