from datetime import timedelta

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sandbox_platform.kit.html import badge
from sandbox_platform.kit.readonly import ReadOnlyAdmin
from sandbox_platform.kit.units import format_bytes, format_ms
from sandboxes.models import Sandbox


@admin.register(Sandbox)
class SandboxAdmin(ReadOnlyAdmin[Sandbox]):
    empty_hint = "All pools are empty, or no keeper is running. The doctor's page tells which."
    list_display = ("short_id", "state_badge", "age", "memory", "runtime", "revision", "node", "execution")
    list_filter = ("state", "runtime", "node")
    list_select_related = ("runtime",)
    search_fields = ("container_id", "execution_id")
    fields = (
        "container_id",
        "state_badge",
        "age",
        "memory",
        "runtime",
        "revision",
        "node",
        "execution",
        "image_id",
        "profile_name",
        "profile_revision",
        "profile_sha256",
        "runsc_version",
        "engine",
        "created_at",
        "ready_at",
        "claimed_at",
    )
    readonly_fields = fields

    @admin.display(description="Container", ordering="container_id")
    def short_id(self, sandbox: Sandbox) -> str:
        return str(sandbox)

    @admin.display(description="State", ordering="state")
    def state_badge(self, sandbox: Sandbox) -> SafeString:
        return badge(sandbox.state, sandbox.get_state_display())

    @admin.display(description="Age", ordering="-created_at")
    def age(self, sandbox: Sandbox) -> str:
        return format_ms(max(0, (timezone.now() - sandbox.created_at) // timedelta(seconds=1)) * 1000)

    @admin.display(description="Memory", ordering="memory_bytes", empty_value="")
    def memory(self, sandbox: Sandbox) -> str | None:
        return None if sandbox.memory_bytes is None else format_bytes(sandbox.memory_bytes)

    @admin.display(description="Revision", ordering="runtime_revision")
    def revision(self, sandbox: Sandbox) -> str:
        current = sandbox.runtime_revision == sandbox.runtime.revision
        return f"{sandbox.runtime_revision}{'' if current else ' (old)'}"

    @admin.display(description="Execution", empty_value="")
    def execution(self, sandbox: Sandbox) -> SafeString | None:
        if sandbox.execution_id is None:
            return None
        url = reverse("admin:executions_execution_change", args=[sandbox.execution_id])
        return format_html('<a href="{}"><code class="id">{}</code></a>', url, str(sandbox.execution_id)[-12:])
