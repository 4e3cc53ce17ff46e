"""Questions that a room asks and a higher room answers.

Imports go downwards only. Where a lower room needs a fact that a higher room holds, the lower room declares a source,
and the higher room registers the answer in its AppConfig.ready().
"""

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Source(Generic[P, T]):
    """A question with exactly one answer. Raises LookupError when no room has registered one: fail closed."""

    def __init__(self, question: str) -> None:
        self._question = question
        self._answer: Callable[P, T] | None = None

    def register(self, answer: Callable[P, T]) -> Callable[P, T]:
        if self._answer not in (None, answer):
            raise LookupError(f"{self._question} is answered twice")
        self._answer = answer
        return answer

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._answer is None:
            raise LookupError(f"no room answers: {self._question}")
        return self._answer(*args, **kwargs)


class Sources(Generic[P, T]):
    """A question that any number of rooms answer, in the order in which they registered."""

    def __init__(self) -> None:
        self._answers: list[Callable[P, T]] = []

    def register(self, answer: Callable[P, T]) -> Callable[P, T]:
        if answer not in self._answers:
            self._answers.append(answer)
        return answer

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        return [answer(*args, **kwargs) for answer in self._answers]
