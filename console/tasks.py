"""The queue's tasks in the words of who operates: what each is about, and what trying it again means.

A row of the queue names a Python function. Only the platform's own are known here, and trying again goes through
what the platform offers for each, never through the name in the row: a row is data, and a worker holds Docker.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_q.tasks import async_task

from builds import services as builds
from builds.models import BuildState, RuntimeBuild
from console import doctor
from executions import services
from executions.callbacks import deliveries
from executions.callbacks.models import Delivery, DeliveryStatus
from executions.models import Execution, Status
from executions.models.execution import LARGE
from executions.people import MAY_RUN
from inspections import services as inspections
from sandbox_platform.kit.errors import Refused

User = AbstractBaseUser | AnonymousUser


class NotAgain(Exception):
    """Why it makes no sense, and what does."""


@dataclass(frozen=True)
class Task:
    """One row of the queue, or of those that failed."""

    function: str
    name: str = ""
    arguments: tuple[Any, ...] = ()

    @property
    def first(self) -> int | None:
        value = self.arguments[0] if self.arguments else None
        return value if type(value) is int else None

    @property
    def execution_id(self) -> UUID | None:
        try:
            return UUID(self.name)
        except ValueError:
            return None


@dataclass(frozen=True)
class About:
    kind: str
    link: SafeString | str = ""
    client: SafeString | str = ""
    state: str = ""


@dataclass(frozen=True)
class Kind:
    title: str
    again: Callable[[Task, User], None]
    # Beside that of trying tasks again: that of what it does.
    permission: str = ""


def _some(key: Any) -> list[Any]:
    """What a row names, or nothing."""
    return [] if key is None else [key]


def _run_again(task: Task, user: User) -> None:
    execution = Execution.objects.filter(pk__in=_some(task.execution_id)).first()
    if execution is None:
        raise NotAgain("The execution is gone.")
    if execution.status != Status.QUEUED:
        raise NotAgain(f"The execution is {execution.get_status_display().lower()}: run it again from its page.")
    services.enqueue(execution)


def _deliver_again(task: Task, user: User) -> None:
    delivery = Delivery.objects.filter(pk__in=_some(task.first)).first()
    if delivery is None:
        raise NotAgain("The delivery is gone.")
    if delivery.status == DeliveryStatus.DELIVERED:
        raise NotAgain("It was delivered meanwhile.")
    deliveries.send_again(delivery)


def _build_again(task: Task, user: User) -> None:
    build = _build(task)
    if build.state != BuildState.QUEUED:
        raise NotAgain(f"The build is {build.get_state_display().lower()}: build again from the runtime's page.")
    builds.enqueue(build)


def _activate_again(task: Task, user: User) -> None:
    try:
        builds.activate(_build(task))
    except Refused as e:
        raise NotAgain(str(e)) from e


def _build(task: Task) -> RuntimeBuild:
    build = RuntimeBuild.objects.select_related("runtime").filter(pk__in=_some(task.first)).first()
    if build is None:
        raise NotAgain("The build is gone.")
    return build


def _inspect_again(task: Task, user: User) -> None:
    inspections.enqueue()


def _examine_again(task: Task, user: User) -> None:
    async_task(doctor.TASK, user.get_username(), task_name="doctor")


KINDS = {
    services.TASK: Kind("Run a program", _run_again, MAY_RUN),
    deliveries.TASK: Kind("Call back", _deliver_again, "callbacks.change_delivery"),
    builds.BUILD_TASK: Kind("Build an image", _build_again, "builds.change_runtimebuild"),
    builds.ACTIVATE_TASK: Kind("Switch to a build", _activate_again, "builds.change_runtimebuild"),
    inspections.TASK: Kind("Inspect a seccomp profile", _inspect_again),
    doctor.TASK: Kind("Look around for the doctor", _examine_again),
}

BUILDING = (builds.BUILD_TASK, builds.ACTIVATE_TASK)


def again(task: Task, user: Any) -> None:
    """Raises NotAgain."""
    kind = KINDS.get(task.function)
    if kind is None:
        raise NotAgain("It is no task of this platform.")
    if kind.permission and not user.has_perm(kind.permission):
        raise NotAgain("Your role may not do this.")
    kind.again(task, user)


def about(tasks: Iterable[Task]) -> list[About]:
    """Of a page of them, in their order, by one question a table."""
    tasks = list(tasks)
    executions = _executions({task.execution_id for task in tasks if task.function == services.TASK})
    sent = Delivery.objects.select_related("execution__client").defer(*(f"execution__{name}" for name in LARGE))
    delivered = sent.in_bulk(_firsts(tasks, deliveries.TASK))
    built = RuntimeBuild.objects.select_related("runtime").in_bulk(_firsts(tasks, *BUILDING))

    def one(task: Task) -> About:
        kind = KINDS.get(task.function)
        if kind is None:
            return About("Unknown", state="No task of this platform.")
        execution = executions.get(task.execution_id) if task.function == services.TASK else None
        if execution is not None:
            return About(kind.title, _link(execution, execution.pk), _client(execution), _state(execution))
        if task.function == deliveries.TASK and (delivery := delivered.get(task.first)):
            state = delivery.get_status_display()
            return About(kind.title, _link(delivery, delivery.execution_id), _client(delivery.execution), state)
        if task.function in BUILDING and (build := built.get(task.first)):
            return About(kind.title, _link(build, f"{build.runtime.slug}, {build}"), "", build.get_state_display())
        return About(kind.title)

    return [one(task) for task in tasks]


def _firsts(tasks: list[Task], *functions: str) -> set[int]:
    return {task.first for task in tasks if task.function in functions and task.first is not None}


def _executions(ids: set[UUID | None]) -> dict[UUID | None, Execution]:
    rows = Execution.objects.select_related("client").defer(*LARGE).in_bulk(ids - {None})
    return dict(rows)


def _state(execution: Execution) -> str:
    if execution.status == Status.QUEUED:
        return "Waits for a worker"
    return execution.get_status_display()


def _client(execution: Execution) -> SafeString | str:
    if execution.client is None:
        return ""
    return _link(execution.client, execution.client.name)


def _link(row: Any, words: object) -> SafeString:
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', address, words)
