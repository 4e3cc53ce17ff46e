"""Named tasks: what the queue may hold, and what its workers may run.

Whoever can write the queue's table decides what workers do, and workers start sandboxes and builds. So a row names one
of the tasks declared here and gives it ids as JSON. It never names a function, and nothing in it is unpickled. Each
task states which services enqueue it; Postgres refuses its rows from the others (sandbox_platform/roles.py).
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from uuid import UUID

from django.utils.module_loading import import_string

from sandbox_platform.kit.broker import RUNS, NotifyBroker
from sandbox_platform.kit.services import Service

Argument = int | str

MOST_ARGUMENTS = 4
LONGEST_ARGUMENT = 200

_declared: dict[str, "Task"] = {}


class BadPayload(ValueError):
    """A row of the queue that names no task of its queue, or whose arguments no task takes."""


class Task:
    """A kind of background work.

    `name`: what rows of the queue call it. `function`: the dotted path of what a worker calls; its room may lie above
    the room that enqueues. `senders`: the services that may enqueue it. `queue`: the cluster that runs it.
    """

    def __init__(self, name: str, function: str, *, senders: Iterable[Service], queue: str = RUNS) -> None:
        if name in _declared:
            raise ValueError(f"two tasks are named {name!r}")
        self.name, self.function, self.queue = name, function, queue
        self.senders = frozenset(senders)
        _declared[name] = self

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def enqueue(
        self, *arguments: Argument, client_id: int | None = None, execution_id: UUID | None = None
    ) -> None:
        """Queue the task in the current transaction. `client_id`: whose turn it takes; None: the platform's own."""
        broker = NotifyBroker(self.queue, client_id=client_id, execution_id=execution_id)
        broker.enqueue(payload_of(self, *arguments))


def declared() -> list[Task]:
    return list(_declared.values())


class Call(NamedTuple):
    """A task with its arguments, as a row of the queue names them."""

    task: Task
    arguments: tuple[Argument, ...]

    def run(self) -> None:
        work: Callable[..., Any] = import_string(self.task.function)
        work(*self.arguments)


def payload_of(task: Task, *arguments: Argument) -> str:
    """Return the text of a row of the queue. Raises BadPayload for arguments that `read` would refuse."""
    _check(arguments)
    return json.dumps({"task": task.name, "arguments": arguments})


def read(payload: str) -> Call:
    """Return the task that a row of the queue names. Raises BadPayload."""
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError):
        raise BadPayload("The row is not JSON.") from None
    if not isinstance(values, dict) or values.keys() != {"task", "arguments"}:
        raise BadPayload("The row is not an object with task and arguments.")
    name, arguments = values["task"], values["arguments"]
    task = _declared.get(name) if isinstance(name, str) else None
    if task is None:
        raise BadPayload("The row names no task of this platform.")
    if not isinstance(arguments, list):
        raise BadPayload("The row's arguments are not a list.")
    _check(arguments)
    return Call(task, tuple(arguments))


def _check(arguments: "list[Any] | tuple[Any, ...]") -> None:
    if len(arguments) > MOST_ARGUMENTS:
        raise BadPayload(f"A task takes {MOST_ARGUMENTS} arguments at most.")
    for argument in arguments:
        if type(argument) not in (int, str):
            raise BadPayload("An argument of a task is a whole number or a text.")
        if isinstance(argument, str) and len(argument) > LONGEST_ARGUMENT:
            raise BadPayload(f"An argument of a task has {LONGEST_ARGUMENT} characters at most.")
