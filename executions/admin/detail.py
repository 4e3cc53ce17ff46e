"""The template context of an execution's page."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from executions import people
from executions.admin import ansi, comparison, rendering
from executions.admin.explain import explain
from executions.admin.highlight import highlight
from executions.admin.json_tree import tree
from executions.admin.previews import PDF, kind_of
from executions.models import Execution
from executions.models.execution import OPEN
from executions.representation import note_secrets
from executions.sources import callback_of, detail_cards
from redaction import services as redaction
from sandbox_platform.kit import html
from sandbox_platform.kit.addresses import without_values
from sandbox_platform.kit.units import format_bytes
from seccomp_profiles.models import UNCONFINED, SeccompProfile

TEXTS = ("code", "stdout", "stderr", "result")
# Longer output is folded, so that it does not fill the page.
FOLDED = 4_000
# Number of reruns that the page names; a link leads to the list of all.
RERUNS = 5


@dataclass(frozen=True)
class File:
    name: str
    size: str
    address: str
    preview: str = ""
    image: bool = False
    pdf: bool = False


def context_of(request: HttpRequest, execution: Execution) -> dict[str, Any]:
    may = request.user.has_perm
    note_secrets(execution, request)
    is_open = execution.status in OPEN
    return {
        "execution": execution,
        "badge": html.badge(execution.status, execution.get_status_display()),
        "explanation": explain(execution),
        "code": highlight(execution.code, source_file=execution.source_file, language=execution.runtime.slug),
        "arguments": tree(execution.arguments) if execution.arguments != "{}" else None,
        "stdin": execution.stdin and html.text(execution.stdin),
        "variables": execution.variables and html.pairs(execution.variables),
        "inputs": _inputs(execution),
        "outputs": [_output(execution, name) for name in ("stdout", "stderr")],
        "result": None if execution.result is None else tree(execution.result),
        "artifacts": list(_artifacts(execution)),
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
    text: str = getattr(execution, name)
    shown = text[: html.SHOWN]
    return {
        "name": name,
        "title": {"stdout": "Standard output", "stderr": "Standard error"}[name],
        "html": ansi.to_html(shown),
        "empty": not text,
        "folded": len(text) > FOLDED,
        "lines": text.count("\n") + 1,
        "note": html.cut_note(text),
        "truncated": getattr(execution, f"{name}_truncated"),
    }


def _inputs(execution: Execution) -> list[tuple[str, str]]:
    if not execution.input_count:
        return []
    sizes = execution.input_files.extra(select={"size": "octet_length(content)"})
    files = list(sizes.values_list("path", "size"))
    paths = redaction.shown_names(execution, [path for path, _ in files])
    return [(path, format_bytes(size)) for path, (_, size) in zip(paths, files, strict=True)]


def _artifacts(execution: Execution) -> list[File]:
    if not execution.artifact_count:
        return []
    files = []
    heads = execution.artifacts.extra(select={"head": "substring(content from 1 for 16)"}).defer("content")
    for artifact in heads:
        arguments = [execution.pk, artifact.pk]
        kind = kind_of(artifact.name, bytes(artifact.head))
        preview = reverse("admin:executions_execution_preview", args=arguments) if kind else ""
        address = reverse("admin:executions_execution_artifact", args=arguments)
        size = format_bytes(artifact.size)
        files.append(File(artifact.name, size, address, preview, kind.startswith("image/"), kind == PDF))
    return files


def _downloads(execution: Execution) -> list[tuple[str, str]]:
    return [
        (reverse("admin:executions_execution_text", args=[execution.pk, name]), name)
        for name in TEXTS
        if getattr(execution, name)
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
