"""The template context of an execution's page."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from executions import people
from executions.admin import ansi, comparison, files, rendering
from executions.admin.explain import explain
from executions.admin.highlight import highlight
from executions.admin.json_tree import tree
from executions.models import Execution
from executions.models.execution import OPEN
from executions.representation import note_secrets
from executions.sources import callback_of, detail_cards
from sandbox_platform.kit import html
from sandbox_platform.kit.addresses import without_values
from sandbox_platform.kit.units import format_bytes
from seccomp_profiles.models import UNCONFINED, SeccompProfile

TEXTS = ("code", "arguments", "stdin", "stdout", "stderr", "result")
# Of longer output only the end is shown unfolded: what a program wrote last says how it went.
FOLDED, TAIL_LINES = 4_000, 20
# Number of reruns that the page names; a link leads to the list of all.
RERUNS = 5


def context_of(request: HttpRequest, execution: Execution) -> dict[str, Any]:
    may = request.user.has_perm
    note_secrets(execution, request)
    is_open = execution.status in OPEN
    return {
        "execution": execution,
        "badge": html.badge(execution.status, execution.get_status_display()),
        "explanation": explain(execution),
        "code": highlight(execution.code, source_file=execution.source_file, language=execution.runtime.slug),
        "arguments": tree(execution.arguments, _text_address(execution, "arguments"))
        if execution.arguments != "{}"
        else None,
        "stdin": execution.stdin and html.text(execution.stdin, _text_address(execution, "stdin")),
        "variables": execution.variables and html.pairs(execution.variables),
        "inputs": files.inputs(execution),
        "outputs": [_output(execution, name) for name in ("stdout", "stderr")],
        "result": None if execution.result is None else tree(execution.result, _text_address(execution, "result")),
        "artifacts": files.artifacts(execution),
        "violations": execution.policy_violations and rendering.violations(execution.policy_violations),
        "timeline": rendering.timeline(execution),
        "resources": rendering.resources(execution),
        "limits": rendering.limits(execution),
        "exit": rendering.exit_of(execution),
        "engine": rendering.engine_of(execution),
        "runtime_environment": html.pairs(execution.environment),
        "downloads": _downloads(execution),
        "message": execution.message and html.text(execution.message),
        "links": _links(execution),
        "profile": _profile(execution),
        "comparison": comparison.context_of(execution) if execution.rerun_of else None,
        "is_open": is_open,
        "events_url": reverse("admin:executions_execution_events", args=[execution.pk]),
        "may_cancel": is_open and may("executions.cancel_execution"),
        "may_run": may(people.MAY_RUN),
    } | {name: value for card in detail_cards(request, execution) for name, value in card.items()}


def _output(execution: Execution, name: str) -> dict[str, Any]:
    """Return the output as a page shows it: short output whole; else its end, and folded its begin."""
    text: str = getattr(execution, name)
    begin, end = _divided(text) if len(text) > FOLDED else ("", text)
    shown = begin[: html.SHOWN]
    return {
        "name": name,
        "title": {"stdout": "Standard output", "stderr": "Standard error"}[name],
        "html": ansi.to_html(end),
        "empty": not text,
        "lines": lines_of(text),
        "size": format_bytes(len(text.encode("utf-8", "surrogatepass"))),
        "begin": ansi.to_html(shown) if shown else "",
        "begin_lines": lines_of(begin),
        "left_out": len(begin) - len(shown),
        "end_lines": lines_of(end),
        "download": _text_address(execution, name),
        "truncated": getattr(execution, f"{name}_truncated"),
    }


def lines_of(text: str) -> int:
    return text.count("\n") + bool(text and not text.endswith("\n"))


def _divided(text: str) -> tuple[str, str]:
    """Divide a text before its last TAIL_LINES lines, or within a line if these are longer than FOLDED."""
    at = len(text) - text.endswith("\n")
    for _ in range(TAIL_LINES):
        at = text.rfind("\n", 0, at)
        if at < 0:
            break
    at = max(at + 1, len(text) - FOLDED)
    return text[:at], text[at:]


def _text_address(execution: Execution, name: str) -> str:
    return reverse("admin:executions_execution_text", args=[execution.pk, name])


def _downloads(execution: Execution) -> list[tuple[str, str]]:
    return [
        (_text_address(execution, name), name)
        for name in TEXTS
        if getattr(execution, name) and (name != "arguments" or execution.arguments != "{}")
    ]


def _links(execution: Execution) -> dict[str, SafeString]:
    """Return links to the pages of runtime, client, related runs, batch and callback, by label."""
    links = {"Runtime": _link("runtimes_runtime_change", execution.runtime_id, execution.runtime)}
    if execution.client:
        links["Client"] = _link("clients_client_change", execution.client_id, execution.client)
    if execution.rerun_of:
        links["Rerun of"] = _link("executions_execution_change", execution.rerun_of, execution.rerun_of)
    if later := list(Execution.objects.filter(rerun_of=execution.pk).order_by("-id").only("pk")[: RERUNS + 1]):
        links["Reruns"] = _reruns(execution, later)
    if execution.batch_id:
        address = f"{reverse('admin:executions_execution_changelist')}?batch_id={execution.batch_id}"
        links["Batch"] = format_html('<a href="{}"><code class="id">{}</code></a>', address, execution.batch_id)
    if execution.request_id:
        query = urlencode({"request_id": execution.request_id})
        address = f"{reverse('admin:executions_execution_changelist')}?{query}"
        links["Request"] = format_html(
            '<a href="{}"><code class="id">{}</code></a>', address, execution.request_id
        )
    if execution.callback_url:
        address = f"{reverse('admin:callbacks_delivery_changelist')}?q={execution.pk}"
        links["Callback"] = format_html(
            '<a href="{}">{}</a>{}', address, without_values(execution.callback_url), _callback_state(execution)
        )
    return links


def _callback_state(execution: Execution) -> str:
    callback = callback_of(execution)
    if callback is None:
        return ""
    return f" ({callback.words.lower()}{': ' if callback.error else ''}{callback.error})"


def _reruns(execution: Execution, later: list[Execution]) -> SafeString:
    named = format_html_join(
        ", ",
        '<a href="{}"><code class="id">{}</code></a>',
        ((reverse("admin:executions_execution_change", args=[run.pk]), run.pk) for run in later[:RERUNS]),
    )
    if len(later) <= RERUNS:
        return named
    address = f"{reverse('admin:executions_execution_changelist')}?rerun_of={execution.pk}"
    return format_html('{}, <a href="{}">and more</a>', named, address)


def _profile(execution: Execution) -> SafeString | str:
    """Return a link to the profile, or only its name if the profile no longer exists."""
    profile = SeccompProfile.objects.filter(name=execution.profile_name).first()
    if profile is None:
        return execution.profile_name or UNCONFINED
    return _link("seccomp_profiles_seccompprofile_change", profile.pk, profile.name)


def _link(name: str, key: Any, label: object) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{name}", args=[key]), label)
