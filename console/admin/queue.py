"""django-q2's own tables, made readable: what waits for a worker, and what a worker failed at."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_q import admin as _registers  # noqa: F401 -- what is taken away below
from django_q.models import Failure, OrmQ, Schedule, Success
from django_q.tasks import async_task

from executions.admin.readonly import ReadOnlyAdmin
from executions.admin.rendering import text
from executions.services import TASK
from sandbox_platform.units import format_ms

# A schedule names any Python function, and the worker, which holds Docker's socket, would call it: with its page
# a login to the admin would be root on the node. Success is empty: results live in the executions.
for _model in (Schedule, Success, OrmQ, Failure):
    admin.site.unregister(_model)


@admin.register(OrmQ)
class QueueAdmin(ReadOnlyAdmin[OrmQ]):
    list_display = fields = readonly_fields = ("what", "execution", "cluster", "waited", "in_hand")
    list_filter = ("key",)
    list_display_links = None

    @admin.display(description="Task")
    def what(self, queued: OrmQ) -> str:
        # Signed: what cannot be read was put there by somebody without the secret key.
        return str(queued.func() or "unreadable")

    @admin.display(description="Execution", empty_value="")
    def execution(self, queued: OrmQ) -> SafeString | None:
        return _execution(queued.name()) if queued.func() == TASK else None

    @admin.display(description="Queue", ordering="key")
    def cluster(self, queued: OrmQ) -> str:
        return str(queued.key)

    @admin.display(description="Waits since", ordering="id")
    def waited(self, queued: OrmQ) -> str:
        began = queued.task.get("started") if queued.func() else None
        return format_ms((timezone.now() - began).total_seconds() * 1000) if began else "unknown"

    @admin.display(description="A worker has it", boolean=True, ordering="lock")
    def in_hand(self, queued: OrmQ) -> bool:
        return bool(queued.lock and queued.lock > timezone.now())


@admin.register(Failure)
class FailureAdmin(ReadOnlyAdmin[Failure]):
    list_display = ("func", "execution", "started", "took", "error")
    search_fields = ("name", "func")
    list_filter = ("started",)
    fields = readonly_fields = ("func", "execution", "started", "stopped", "took", "attempt_count", "whole_error")
    actions = ("run_again",)

    @admin.display(description="Execution", empty_value="")
    def execution(self, failure: Failure) -> SafeString | None:
        return _execution(failure.name) if failure.func == TASK else None

    @admin.display(description="Took")
    def took(self, failure: Failure) -> str:
        return format_ms(failure.time_taken() * 1000)

    @admin.display(description="Error")
    def error(self, failure: Failure) -> str:
        return (str(failure.result or "").splitlines() or [""])[0][:200]

    @admin.display(description="Error")
    def whole_error(self, failure: Failure) -> SafeString:
        return text(str(failure.result or ""))

    def has_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_q.change_failure")

    @admin.action(description="Run again (an execution that has begun never runs twice)", permissions=["again"])
    def run_again(self, request: HttpRequest, failures: QuerySet[Any]) -> None:
        number = 0
        for failure in failures:
            async_task(failure.func, *(failure.args or ()), **(failure.kwargs or {}), task_name=failure.name)
            failure.delete()
            number += 1
        self.message_user(request, f"{number} put into the queue.", messages.SUCCESS)


def _execution(name: str) -> SafeString:
    url = reverse("admin:executions_execution_change", args=[name])
    return format_html('<a href="{}"><code class="id">{}</code></a>', url, name)
