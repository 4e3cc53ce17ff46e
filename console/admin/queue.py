"""Admin pages of django-q2's tables: tasks that wait for a worker, and tasks that failed."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django_q import admin as _registers  # noqa: F401 -- registers the pages that are removed below
from django_q.models import Failure, OrmQ, Schedule, Success

from clients.models import Client
from console import tasks
from console.tasks import TASK_TYPES, Task
from executions import services
from executions.models import Outcome
from sandbox_platform.kit.generics import ChangeList
from sandbox_platform.kit.html import text
from sandbox_platform.kit.ranges import TimeRange, TimeRangeFilter, picker
from sandbox_platform.kit.readonly import ReadOnlyAdmin
from sandbox_platform.kit.tasks import BadPayload, read
from sandbox_platform.kit.units import format_ms

# A schedule can name any Python function, and a worker, which has access to Docker, would call it. With a page for
# schedules, a login to the admin would mean root on the node. Success is empty: results are stored in the executions.
for _model in (Schedule, Success, OrmQ, Failure):
    admin.site.unregister(_model)


class TaskChangeList(ChangeList):  # type: ignore[misc]
    """Gives each row of the page its `summary`, with one query per table for the whole page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)  # type: ignore[has-type]
        for row, summary in zip(rows, tasks.summarize(task_of(row) for row in rows), strict=True):
            row.summary = summary
        self.result_list = rows


def task_of(row: Any) -> Task:
    if not isinstance(row, OrmQ):
        return Task(row.func, _arguments_of(row))
    try:
        call = read(row.payload)
    except BadPayload:
        return Task("unreadable")
    return Task(call.task.name, call.arguments)


def _arguments_of(failure: Any) -> tuple[Any, ...]:
    try:
        arguments = json.loads(failure.stored_arguments)
    except (TypeError, ValueError):  # a task whose arguments are gone has none
        return ()
    return tuple(arguments) if isinstance(arguments, list) else ()


class TaskAdmin(ReadOnlyAdmin[Any]):
    """The columns that the queue and the failed tasks share."""

    show_full_result_count = False
    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TaskChangeList]:
        return TaskChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.summary = tasks.summarize([task_of(row)])[0]
            row.shown_name = row.summary.words
        return row

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Name the row in the page's title as in its breadcrumbs: the tables are django-q2's, with its names."""
        context["subtitle"] = context["original"].shown_name
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Task")
    def kind(self, row: Any) -> str:
        return str(row.summary.title)

    @admin.display(description="Subject", empty_value="")
    def subject(self, row: Any) -> SafeString | str | None:
        return row.summary.link or None

    @admin.display(description="Client", empty_value="")
    def client(self, row: Any) -> SafeString | str | None:
        return row.summary.client or None

    @admin.display(description="State", empty_value="")
    def state(self, row: Any) -> str | None:
        return row.summary.state or None


class QueuedClientFilter(admin.SimpleListFilter):
    title = "client"
    parameter_name = "client"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(pk), name) for pk, name in Client.objects.values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        if not value:
            return queryset
        # The broker adds this column; django-q2's model does not have it.
        return queryset.extra(where=["client_id = %s"], params=[int(value) if value.isdecimal() else -1])


@admin.register(OrmQ)
class QueueAdmin(TaskAdmin):
    empty_hint = "The queue is empty."
    list_display = fields = readonly_fields = ("kind", "subject", "client", "since", "queue", "state")
    list_filter = ("key", QueuedClientFilter)
    ordering = ("id",)
    actions = ("cancel",)

    @admin.display(description="Queue", ordering="key")
    def queue(self, queued: OrmQ) -> str:
        return "callbacks" if queued.key == "callbacks" else "runs"

    @admin.display(description="Waiting since", ordering="id")
    def since(self, queued: OrmQ) -> str:
        if queued.lock is None:
            return "unknown"
        waited = format_ms((timezone.now() - queued.lock).total_seconds() * 1000)
        return f"{localtime(queued.lock):%Y-%m-%d %H:%M:%S}, for {waited}"

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("executions.cancel_execution")

    @admin.action(description="Cancel: the program never starts", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queued: QuerySet[OrmQ]) -> None:
        chosen = [task_of(row) for row in queued]
        programs = [task.execution_id for task in chosen if task.name == services.RUN.name and task.execution_id]
        number = sum(services.cancel(pk, outcome=Outcome.CANCEL_REQUESTED, http=request) for pk in programs)
        if number:
            self.message_user(request, f"{number} cancelled.", messages.SUCCESS)
        if others := len(chosen) - number:
            words = f"{others} not cancelled: only queued executions can be cancelled here."
            self.message_user(request, words, messages.WARNING)


class KindFilter(admin.SimpleListFilter):
    title = "task"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, task_type.title) for name, task_type in TASK_TYPES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(func=self.value()) if self.value() else queryset


class FailedFilter(TimeRangeFilter):
    title = "failed"
    field = "stopped"


@admin.register(Failure)
class FailureAdmin(TaskAdmin):
    empty_hint = "No task of the platform failed. Failed programs are listed under executions."
    list_display = ("kind", "subject", "client", "failed", "took", "error", "state")
    search_fields = ("name",)
    search_help_text = "Execution id"
    list_filter = (KindFilter, FailedFilter)
    list_before_template = "console/time_range.html"
    fields = readonly_fields = (
        "kind",
        "subject",
        "client",
        "state",
        "began",
        "failed",
        "took",
        "whole_error",
    )
    actions = ("run_again",)
    change_form_outer_before_template = "console/act_on_one.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Failure]:
        # django-q2's fields unpickle what they read, and a row may be anyone's: read the columns' text instead.
        stored = {"stored_arguments": Cast("args", TextField()), "stored_error": Cast("result", TextField())}
        failures = super().get_queryset(request).defer("args", "kwargs", "result")
        readable: QuerySet[Failure] = failures.annotate(**stored)
        return readable

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        tools = {"picker": picker(request, TimeRange.of(request), everything=True)}
        return super().changelist_view(request, tools | (extra_context or {}))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        act = {"action": "run_again", "label": "Retry", "may": self.has_again_permission(request)}
        return super().changeform_view(request, object_id, form_url, {"act": act} | (extra_context or {}))

    @admin.display(description="Failed at", ordering="stopped")
    def failed(self, failure: Failure) -> str:
        return f"{localtime(failure.stopped):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Started at", ordering="started")
    def began(self, failure: Failure) -> str:
        return f"{localtime(failure.started):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Duration")
    def took(self, failure: Failure) -> str:
        return format_ms(failure.time_taken() * 1000)

    @admin.display(description="Reason")
    def error(self, failure: Failure) -> str:
        return reason(failure)[:200]

    @admin.display(description="Error")
    def whole_error(self, failure: Failure) -> SafeString:
        return text(failure.stored_error or "")

    def has_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_q.change_failure")

    @admin.action(description="Retry (an execution that has started is never run again)", permissions=["again"])
    def run_again(self, request: HttpRequest, failures: QuerySet[Any]) -> None:
        number = 0
        chosen = list(failures)
        summaries = tasks.summarize(task_of(failure) for failure in chosen)
        for failure, summary in zip(chosen, summaries, strict=True):
            try:
                tasks.retry(task_of(failure), request.user)
            except tasks.NotRetryable as e:
                self.message_user(request, f"{summary.words}: {e}", messages.WARNING)
                continue
            self.log_change(request, failure, "Retried.")
            failure.delete()
            number += 1
        if number:
            self.message_user(request, f"{number} queued.", messages.SUCCESS)


def reason(failure: Any) -> str:
    """Return the failure's reason, which is the first line of what the worker stored."""
    return (failure.stored_error or "").strip().partition("\n")[0] or "no reason given"
