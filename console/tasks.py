"""The tasks of the queue for operators: what each task is about, and how it is retried.

A retry calls the service function of the task's kind and takes from the row nothing but an id: a row is data, and a
worker has access to Docker.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from audit import heads, verifications
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


class NotRetryable(Exception):
    """The task cannot be retried. The message gives the reason and the alternative."""


@dataclass(frozen=True)
class Task:
    """A queued or failed task, as its row names it."""

    name: str
    arguments: tuple[Any, ...] = ()

    @property
    def row_id(self) -> int | None:
        """Return the first argument, the primary key of the row that the task is about, or None."""
        value = self.arguments[0] if self.arguments else None
        return value if type(value) is int else None

    @property
    def execution_id(self) -> UUID | None:
        try:
            return UUID(self.arguments[0])
        except (AttributeError, IndexError, ValueError):
            return None


@dataclass(frozen=True)
class TaskSummary:
    title: str
    link: SafeString | str = ""
    client: SafeString | str = ""
    state: str = ""
    about: str = ""

    @property
    def words(self) -> str:
        """Return a name without ids: what is done, and of what."""
        return f"{self.title} ({self.about})" if self.about else self.title


@dataclass(frozen=True)
class TaskType:
    title: str
    retry: Callable[[Task, User], None]
    # Required for a retry, in addition to the permission to retry tasks.
    permission: str = ""


def _some(key: Any) -> list[Any]:
    """Return [key], or [] for None, for a `pk__in` lookup."""
    return [] if key is None else [key]


def _run_again(task: Task, user: User) -> None:
    execution = Execution.objects.filter(pk__in=_some(task.execution_id)).first()
    if execution is None:
        raise NotRetryable("The execution is gone.")
    if execution.status != Status.QUEUED:
        raise NotRetryable(
            f"The execution is {execution.get_status_display().lower()}: run it again from its page."
        )
    services.enqueue(execution)


def _deliver_again(task: Task, user: User) -> None:
    delivery = Delivery.objects.filter(pk__in=_some(task.row_id)).first()
    if delivery is None:
        raise NotRetryable("The delivery is gone.")
    if delivery.status == DeliveryStatus.DELIVERED:
        raise NotRetryable("The callback has been delivered meanwhile.")
    deliveries.send_again(delivery)


def _build_again(task: Task, user: User) -> None:
    build = _build(task)
    if build.state != BuildState.QUEUED:
        raise NotRetryable(
            f"The build is {build.get_state_display().lower()}: build again from the runtime's page."
        )
    builds.enqueue(build)


def _probe_again(task: Task, user: User) -> None:
    raise NotRetryable("The keeper repeats it by itself while the build waits. Build again if it has failed.")


def _activate_again(task: Task, user: User) -> None:
    try:
        builds.activate(_build(task))
    except Refused as e:
        raise NotRetryable(str(e)) from e


def _build(task: Task) -> RuntimeBuild:
    build = RuntimeBuild.objects.select_related("runtime").filter(pk__in=_some(task.row_id)).first()
    if build is None:
        raise NotRetryable("The build is gone.")
    return build


def _inspect_again(task: Task, user: User) -> None:
    inspections.enqueue()


def _send_head_again(task: Task, user: User) -> None:
    raise NotRetryable("The keeper repeats it by itself.")


def _examine_again(task: Task, user: User) -> None:
    doctor.EXAMINE.enqueue(user.get_username())


def _verify_again(task: Task, user: User) -> None:
    raise NotRetryable("Press “Verify” in the list of seals.")


TASK_TYPES = {
    services.RUN.name: TaskType("Run a program", _run_again, MAY_RUN),
    deliveries.DELIVER.name: TaskType("Deliver a callback", _deliver_again, "callbacks.change_delivery"),
    builds.BUILD.name: TaskType("Build an image", _build_again, "builds.change_runtimebuild"),
    builds.PROBE.name: TaskType("Test a build's image", _probe_again, "builds.change_runtimebuild"),
    builds.ACTIVATE.name: TaskType("Activate a build", _activate_again, "builds.change_runtimebuild"),
    inspections.INSPECT.name: TaskType("Inspect a seccomp profile", _inspect_again),
    heads.DELIVER.name: TaskType("Send a head of the seals", _send_head_again),
    verifications.VERIFY.name: TaskType("Verify seals", _verify_again),
    doctor.EXAMINE.name: TaskType("Run the doctor's checks", _examine_again),
}

BUILDING = (builds.BUILD.name, builds.PROBE.name, builds.ACTIVATE.name)


def retry(task: Task, user: Any) -> None:
    """Retry a failed task for a user. Raises NotRetryable."""
    task_type = TASK_TYPES.get(task.name)
    if task_type is None:
        raise NotRetryable("This is not a task of this platform.")
    if task_type.permission and not user.has_perm(task_type.permission):
        raise NotRetryable("Your role does not permit this.")
    task_type.retry(task, user)


def summarize(tasks: Iterable[Task]) -> list[TaskSummary]:
    """Return the summaries of a page of tasks, in their order. Makes one query per table."""
    tasks = list(tasks)
    executions = _executions({task.execution_id for task in tasks if task.name == services.RUN.name})
    sent = Delivery.objects.select_related("execution__client", "execution__runtime").defer(
        *(f"execution__{name}" for name in LARGE)
    )
    delivered = sent.in_bulk(_row_ids(tasks, deliveries.DELIVER.name))
    built = RuntimeBuild.objects.select_related("runtime").in_bulk(_row_ids(tasks, *BUILDING))

    def one(task: Task) -> TaskSummary:
        task_type = TASK_TYPES.get(task.name)
        if task_type is None:
            return TaskSummary("Unknown", state="Not a task of this platform")
        title = task_type.title
        execution = executions.get(task.execution_id) if task.name == services.RUN.name else None
        if execution is not None:
            link = _link(execution, execution.pk)
            return TaskSummary(title, link, _client(execution), _state(execution), _about(execution))
        if task.name == deliveries.DELIVER.name and (delivery := delivered.get(task.row_id)):
            state = delivery.get_status_display()
            of = delivery.execution
            return TaskSummary(title, _link(delivery, of.pk), _client(of), state, _about(of))
        if task.name in BUILDING and (build := built.get(task.row_id)):
            link = _link(build, f"{build.runtime.slug}, {build}")
            return TaskSummary(title, link, "", build.get_state_display(), str(build))
        return TaskSummary(title)

    return [one(task) for task in tasks]


def _row_ids(tasks: list[Task], *names: str) -> set[int]:
    return {task.row_id for task in tasks if task.name in names and task.row_id is not None}


def _executions(ids: set[UUID | None]) -> dict[UUID | None, Execution]:
    rows = Execution.objects.select_related("client", "runtime").defer(*LARGE).in_bulk(ids - {None})
    return dict(rows)


def _about(execution: Execution) -> str:
    of = f" of client {execution.client}" if execution.client else ""
    return f"{execution.runtime}{of}, queued at {localtime(execution.queued_at):%Y-%m-%d %H:%M:%S}"


def _state(execution: Execution) -> str:
    if execution.status == Status.QUEUED:
        return "Waiting for a worker"
    return execution.get_status_display()


def _client(execution: Execution) -> SafeString | str:
    if execution.client is None:
        return ""
    return _link(execution.client, execution.client.name)


def _link(row: Any, words: object) -> SafeString:
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', address, words)
