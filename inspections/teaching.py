"""The page on which somebody chooses the programs that a profile is learnt from."""

import json
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from executions import people
from executions.models import Execution, Mode
from inspections import services as inspections
from inspections.models import InspectionKind
from inspections.studies import MOST_EXECUTIONS
from runtimes.models import Runtime
from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.errors import Refused
from seccomp_profiles.models import SeccompRevision

LONGEST_PROGRAM = 1_000_000
PROGRAM, SMOKE, LAST, EXECUTION = "program", "smoke", "last", "execution"
SOURCES = {
    PROGRAM: "A program of your own",
    SMOKE: "The runtime's smoke programs",
    LAST: "The runtime's latest executions",
    EXECUTION: "One execution",
}


class LearnForm(forms.Form):
    runtime = forms.ModelChoiceField(Runtime.objects.enabled().order_by("slug"), empty_label=None)
    revision = forms.ModelChoiceField(SeccompRevision.objects.all(), required=False)
    source = forms.ChoiceField(choices=list(SOURCES.items()), initial=PROGRAM)
    code = forms.CharField(required=False, strip=False, max_length=LONGEST_PROGRAM)
    mode = forms.ChoiceField(choices=Mode.choices, required=False)
    arguments = forms.JSONField(required=False)
    stdin = forms.CharField(required=False, strip=False, max_length=LONGEST_PROGRAM)
    pure = forms.BooleanField(required=False)
    last = forms.IntegerField(required=False, min_value=1, max_value=MOST_EXECUTIONS, initial=20)
    execution = forms.UUIDField(required=False)

    def clean_arguments(self) -> Any:
        arguments = self.cleaned_data["arguments"]
        if arguments is None:
            return {}
        if not isinstance(arguments, dict):
            raise ValidationError("Must be a JSON object whose names are the parameters of main().")
        if "\\u0000" in json.dumps(arguments):
            raise ValidationError("Contains NUL, which cannot be stored.")
        return arguments

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        runtime: Any = values.get("runtime")
        needed = {PROGRAM: "code", LAST: "last", EXECUTION: "execution"}.get(values.get("source", ""))
        if needed and not values.get(needed) and needed not in self.errors:
            self.add_error(needed, "This field is required.")
        if runtime and needed == "code" and (mode := values.get("mode")) and mode not in runtime.modes:
            self.add_error("mode", f"The runtime {runtime} has only the mode {', '.join(runtime.modes)}.")
        chosen = values.get("execution") if needed == "execution" else None
        if runtime and chosen and not Execution.objects.filter(pk=chosen, runtime=runtime).exists():
            self.add_error("execution", f"{runtime} has no such execution.")
        return values

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the inspection's request."""
        values = self.cleaned_data
        match values["source"]:
            case "program":
                program = {
                    "name": "your program",
                    "code": values["code"],
                    "mode": values["mode"] or Mode.SCRIPT,
                    "arguments": values["arguments"],
                    "stdin": values["stdin"],
                }
                return {"programs": [program]}
            case "last":
                return {"last": values["last"]}
            case "execution":
                return {"execution_id": values["execution"]}
        return {"pure": True} if values["pure"] else {}


def learn(request: HttpRequest, *, site: Any, may_change: bool) -> HttpResponse:
    """Show the form, or request the learning and redirect to its inspection."""
    if not may_change:
        raise PermissionDenied
    form = LearnForm(request.POST) if request.method == "POST" else LearnForm(initial=_initial(request))
    if request.method == "POST" and form.is_valid():
        values, client = form.cleaned_data, people.client()
        try:
            with people.admission(client), transaction.atomic():
                inspection = inspections.request(
                    InspectionKind.LEARN,
                    revision=values["revision"],
                    runtime=values["runtime"],
                    by=actor_name(request.user),
                    client=client,
                    **form.parameters(),
                )
        except Refused as e:
            form.add_error(None, str(e))
        else:
            messages.success(request, "Queued. A worker runs the programs, traced, without a filter.")
            return redirect("admin:inspections_inspection_change", inspection.pk)
    revision = SeccompRevision.objects.filter(pk=_id(form["revision"].value())).select_related("profile").first()
    context = {"title": "Learn a profile from programs", "form": form, "sources": SOURCES, "revision": revision}
    return TemplateResponse(request, "inspections/learn.html", site.each_context(request) | context)


def _initial(request: HttpRequest) -> dict[str, Any]:
    runtimes = Runtime.objects.enabled()
    revision = SeccompRevision.objects.filter(pk=_id(request.GET.get("revision"))).first()
    runtime = runtimes.filter(pk=_id(request.GET.get("runtime"))).first() or runtimes.filter(slug="python").first()
    return {
        "revision": revision.pk if revision else None,
        "runtime": runtime.pk if runtime else None,
        "source": PROGRAM,
        "mode": Mode.SCRIPT,
        "last": LearnForm.base_fields["last"].initial,
    }


def _id(text: Any) -> int:
    text = str(text or "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
