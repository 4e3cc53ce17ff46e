"""django-q2's own tables, made readable: what waits for a worker, and what a worker failed at."""

import re
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django_q import admin as _registers  # noqa: F401 -- what is taken away below
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.views import ChangeList

from clients.models import Client
from console import tasks
from console.tasks import KINDS, Task
from executions import services
from executions.models import Outcome
from sandbox_platform.kit.html import text
from sandbox_platform.kit.readonly import ReadOnlyAdmin
from sandbox_platform.kit.units import format_ms

# A schedule names any Python function, and the worker, which holds Docker's socket, would call it: with its page
# a login to the admin would be root on the node. Success is empty: results live in the executions.
for _model in (Schedule, Success, OrmQ, Failure):
    admin.site.unregister(_model)


class Told(ChangeList):  # type: ignore[misc]
    """Each row of the page learns what it is about, all of them together."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)  # type: ignore[has-type]
        for row, about in zip(rows, tasks.about(task_of(row) for row in rows), strict=True):
            row.about = about
        self.result_list = rows


def task_of(row: Any) -> Task:
    if isinstance(row, OrmQ):
        # Signed: what cannot be read was put there by somebody without the secret key.
        return Task(str(row.func() or "unreadable"), str(row.name() or ""), tuple(row.args() or ()))
    return Task(row.func, row.name or "", tuple(row.args or ()))


class TaskAdmin(ReadOnlyAdmin[Any]):
    """Columns that both tables have."""

    show_full_result_count = False
    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Told]:
        return Told

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.about = tasks.about([task_of(row)])[0]
        return row

    @admin.display(description="Task")
    def kind(self, row: Any) -> str:
        return str(row.about.kind)

    @admin.display(description="About", empty_value="")
    def subject(self, row: Any) -> SafeString | str | None:
        return row.about.link or None

    @admin.display(description="Client", empty_value="")
    def client(self, row: Any) -> SafeString | str | None:
        return row.about.client or None

    @admin.display(description="State", empty_value="")
    def state(self, row: Any) -> str | None:
        return row.about.state or None


class QueuedClientFilter(admin.SimpleListFilter):
    title = "client"
    parameter_name = "client"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(pk), name) for pk, name in Client.objects.values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        if not value:
            return queryset
        # The broker's own column, which django-q2's model does not know.
        return queryset.extra(where=["client_id = %s"], params=[int(value) if value.isdecimal() else -1])


@admin.register(OrmQ)
class QueueAdmin(TaskAdmin):
    empty_hint = "Nothing waits: each task has a worker."
    list_display = fields = readonly_fields = ("kind", "subject", "client", "since", "queue", "state")
    list_filter = ("key", QueuedClientFilter)
    ordering = ("id",)
    actions = ("cancel",)

    @admin.display(description="Queue", ordering="key")
    def queue(self, queued: OrmQ) -> str:
        return "callbacks" if queued.key == "callbacks" else "runs"

    @admin.display(description="Waits since", ordering="id")
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
        programs = [task.execution_id for task in chosen if task.function == services.TASK and task.execution_id]
        number = sum(services.cancel(pk, outcome=Outcome.CANCEL_REQUESTED) for pk in programs)
        if number:
            self.message_user(request, f"{number} cancelled.", messages.SUCCESS)
        if others := len(chosen) - number:
            words = f"{others} left alone: only programs that wait can be cancelled here."
            self.message_user(request, words, messages.WARNING)


class KindFilter(admin.SimpleListFilter):
    title = "task"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(function, kind.title) for function, kind in KINDS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(func=self.value()) if self.value() else queryset


@admin.register(Failure)
class FailureAdmin(TaskAdmin):
    empty_hint = "No task of the platform's own failed. Programs that failed are executions."
    list_display = ("kind", "subject", "client", "failed", "took", "error", "state")
    search_fields = ("name",)
    search_help_text = "An execution's id."
    list_filter = (KindFilter, "started")
    fields = readonly_fields = (
        "kind",
        "subject",
        "client",
        "state",
        "began",
        "failed",
        "took",
        "whole_error",
        "function",
    )
    actions = ("run_again",)
    change_form_outer_before_template = "console/act_on_one.html"

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        act = {"action": "run_again", "label": "Try again", "may": self.has_again_permission(request)}
        return super().changeform_view(request, object_id, form_url, {"act": act} | (extra_context or {}))

    @admin.display(description="Failed at", ordering="stopped")
    def failed(self, failure: Failure) -> str:
        return f"{localtime(failure.stopped):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Began at", ordering="started")
    def began(self, failure: Failure) -> str:
        return f"{localtime(failure.started):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Took")
    def took(self, failure: Failure) -> str:
        return format_ms(failure.time_taken() * 1000)

    @admin.display(description="Why")
    def error(self, failure: Failure) -> str:
        return reason(failure)[:200]

    @admin.display(description="Error")
    def whole_error(self, failure: Failure) -> SafeString:
        return text(str(failure.result or ""))

    @admin.display(description="Function")
    def function(self, failure: Failure) -> SafeString:
        return format_html("<code>{}</code>", failure.func)

    def has_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_q.change_failure")

    @admin.action(description="Try again (an execution that has begun never runs twice)", permissions=["again"])
    def run_again(self, request: HttpRequest, failures: QuerySet[Any]) -> None:
        number = 0
        for failure in failures:
            try:
                tasks.again(task_of(failure), request.user)
            except tasks.NotAgain as e:
                self.message_user(request, f"{failure}: {e}", messages.WARNING)
                continue
            self.log_change(request, failure, "Tried again.")
            failure.delete()
            number += 1
        if number:
            self.message_user(request, f"{number} put into the queue.", messages.SUCCESS)


# The last line of a traceback that begins at the margin.
RAISED = re.compile(r"^[A-Za-z_][\w.]*(?::.*)?$", re.MULTILINE)


def reason(failure: Failure) -> str:
    """django-q2 keeps the exception's text, a colon, and the traceback."""
    said, _, traceback = str(failure.result or "").partition(" : Traceback (most recent call last):")
    raised = RAISED.findall(traceback)
    return str(raised[-1]) if raised else (said.strip().splitlines() or ["nothing was said"])[0]
