"""Compare a runtime with its manifest on its page, and reset it after a confirmation."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST

from runtimes import manifests
from runtimes.forms import SIZES, TIMES, RuntimeForm
from runtimes.models import Runtime
from runtimes.sources import live_build
from sandbox_platform.kit import units
from sandbox_platform.kit.generics import ModelAdmin

MAX_SHOWN = 300
COUNTED = {"cpus": "cores", "pool_min": "sandboxes", "pool_max": "sandboxes", "artifact_count": "files"}


@dataclass(frozen=True)
class Difference:
    name: str
    label: str
    row: str
    manifest: str


@dataclass(frozen=True)
class Comparison:
    """The comparison of a runtime with its manifest."""

    path: str
    found: list[tuple[str, Any, Any]] | None  # None: no manifest
    problem: str = ""

    @property
    def differences(self) -> list[Difference]:
        return [
            Difference(name, label(name), *format_both(name, row, manifest))
            for name, row, manifest in self.found or ()
        ]

    @property
    def stamp(self) -> str:
        """Return a hash of the differences. A confirmation with another hash is stale, and the page is shown again."""
        return hashlib.sha256(json.dumps(self.found, sort_keys=True, default=str).encode()).hexdigest()


def compare(runtime: Runtime) -> Comparison:
    path = f"images/{runtime.slug}/runtime.toml"
    try:
        return Comparison(path, manifests.differences(runtime))
    except manifests.ManifestError as e:
        return Comparison(path, None, f"The manifest cannot be read: {e}")


def label(name: str) -> str:
    form_labels: dict[str, str] = RuntimeForm.Meta.labels
    return form_labels.get(name) or name.replace("_", " ").capitalize()


def format_both(name: str, row: Any, manifest: Any) -> tuple[str, str]:
    if name == "smoke":
        return _programs(row, manifest), _programs(manifest, row)
    return format_value(name, row), format_value(name, manifest)


def _programs(these: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """Name the smoke programs that the other side lacks or has in another form: the programs themselves are long."""
    names = ", ".join(str(program.get("name", "")) for program in these if program not in others)
    return f"{len(these)} programs; not the same on the other side: {names or 'none'}"


def format_value(name: str, value: Any) -> str:
    if name in SIZES or name in TIMES:
        return units.exact(value, "bytes" if name in SIZES else "ms")
    if name in COUNTED:
        return f"{value:g} {COUNTED[name]}"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        text = ", ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return (text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…") or "empty"


@require_POST
def reset(request: HttpRequest, model_admin: ModelAdmin[Runtime], runtime_id: int) -> HttpResponse:
    """Reset the POSTed `field`, or all fields. Without a valid `confirmed`, show the changes for confirmation.

    With `chosen`, the page had a box for each change: only those in `fields` are reset, and `build` ends the build.
    """
    runtime = get_object_or_404(Runtime, pk=runtime_id)
    if not model_admin.has_change_permission(request, runtime):
        raise PermissionDenied
    page = redirect("admin:runtimes_runtime_change", runtime.pk)
    comparison = compare(runtime)
    if comparison.found is None:
        messages.error(request, comparison.problem or "The runtime has no manifest.")
        return page
    field = request.POST.get("field", "")
    chosen = [difference for difference in comparison.differences if field in ("", difference.name)]
    build = live_build(runtime)
    if not chosen and not (build and not field):
        messages.info(request, f"Nothing to reset: the values equal those in {comparison.path}.")
        return page
    if request.POST.get("confirmed") != comparison.stamp:
        context = {
            **model_admin.admin_site.each_context(request),
            "opts": model_admin.opts,
            "original": runtime,
            "title": f"Reset {runtime}",
            "runtime": runtime,
            "comparison": comparison,
            "chosen": chosen,
            "field": field,
            "revision": runtime.revision + 1,
            "lost_build": build if field in ("", "image", "packages") else None,
        }
        return TemplateResponse(request, "admin/runtimes/runtime/reset.html", context)
    names: list[str] | None = [field] if field else None
    drop_build = False
    if not field and "chosen" in request.POST:
        wanted, drop_build = set(request.POST.getlist("fields")), "build" in request.POST
        names = [difference.name for difference in chosen if difference.name in wanted]
        if len(names) == len(chosen) and (drop_build or not build):
            names = None
        elif not names and not drop_build:
            messages.info(request, "Nothing was reset: nothing was ticked.")
            return page
    try:
        messages.success(request, manifests.reset_one(runtime, names, drop_build=drop_build))
    except (manifests.ManifestError, FileNotFoundError) as e:
        messages.error(request, f"Nothing was changed: {e}")
    return page
