"""Context of a profile's change form, and the views behind it. Each view also takes the ModelAdmin."""

import contextlib
import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.generics import ModelAdmin
from seccomp_profiles import activation, revisions
from seccomp_profiles.admin.forms import SeccompProfileForm
from seccomp_profiles.admin.widgets import ACTIONS, FORM, JSON, RulesWidget
from seccomp_profiles.diff import diff
from seccomp_profiles.findings import ERROR, Finding
from seccomp_profiles.models import SeccompProfile, SeccompRevision
from seccomp_profiles.proof import Proof, page_context, proofs, runtimes_under
from seccomp_profiles.rules import condition, in_words, names_of, outcomes, why_dropped
from seccomp_profiles.syscalls import describe, table

FOLDER = "admin/seccomp_profiles/seccompprofile"
Admin = ModelAdmin[SeccompProfile]
# Number of system calls that a summary of differences names.
NAMED = 12

URLS = {name: reverse_lazy(f"admin:seccomp_profiles_{name[:-4]}") for name in ("check_url", "editor_url")}


def badge(proof: Proof) -> SafeString:
    kind = "ok" if not proof.obstacle else "warn" if proof.enforced or not proof.verdict else "bad"
    return format_html(
        '<span class="verdict verdict-{}" title="{}">{}: {}</span>',
        kind,
        proof.obstacle,
        proof.runtime,
        proof.label,
    )


def badges(revision: SeccompRevision) -> list[SafeString]:
    """Return one badge for each runtime that would run under the revision."""
    found = proofs(revision, runtimes_under(revision.profile))
    if revision.effective is None:
        found = [replace(proof, obstacle="") for proof in found]  # without a filter there is nothing to prove
    return [badge(proof) for proof in found]


def change_form_context(request: HttpRequest, profile: SeccompProfile | None) -> dict[str, Any]:
    """Return the context of the change form: the rules in force and in the editor, explained, and the history."""
    if profile is None or profile.active is None:
        return {"read": explain(None, []), "read_title": "Effect of the rules", **URLS}
    current, base = profile.current, edited_revision(request, profile)
    context: dict[str, Any] = {
        "profile": profile,
        "base": base,
        "read": explain(base.effective, revisions.findings_of(base)),
        "read_title": f"Effective rules: revision {current.number}, in force",
        **URLS,
        "rows": rows_of(profile),
        "kinds": (("probe", "Probe"), ("replay", "Dry run")),
        "under": runtimes_under(profile),
        "activations": list(profile.activations.select_related("revision", "previous")[:20]),
    }
    if base != current:
        context |= {
            "in_force": explain(current.effective, revisions.findings_of(current)),
            "in_force_title": context["read_title"],
            "read_title": f"{'Draft: r' if base == profile.draft else 'R'}evision {base.number}, not in force",
            "changes": changes(current, base),
        }
    return context | {name: value for more in page_context(profile) for name, value in more.items()}


def edited_revision(request: HttpRequest, profile: SeccompProfile) -> SeccompRevision:
    """Return the revision that the editor starts with: the one that `?revision=` names, or else `profile.edited`."""
    named = _requested_number(request.GET.get("revision", ""))
    rows = profile.revisions.select_related("parent_revision__profile")
    found = None if named is None else rows.filter(number=named).first()
    if found is None:
        return profile.edited
    found.profile = profile
    return found


def changes(before: SeccompRevision, after: SeccompRevision) -> list[tuple[str, str]]:
    """Return the differences in effect as pairs of title and names of system calls."""
    found = diff(before.effective, after.effective)
    titled = (("Newly denied", found.denied), ("Newly allowed", found.allowed), ("Other changes", found.changed))
    return [(title, _listed([change.syscall for change in changed])) for title, changed in titled if changed]


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def rows_of(profile: SeccompProfile) -> list[dict[str, Any]]:
    """Return the rows of the table of revisions, newest first."""
    activated = set(profile.activations.values_list("revision_id", flat=True))
    rows = []
    for revision in profile.revisions.select_related("parent_revision__profile"):
        revision.profile = profile
        was_in_force, is_older = revision.pk in activated, revision.number < profile.current.number
        rows.append(
            {
                "revision": revision,
                "badges": badges(revision),
                "state": "in force"
                if revision == profile.active
                else "was in force"
                if was_in_force
                else "never in force"
                if is_older
                else "draft",
                "action": ("Roll back to it" if is_older else "Activate again") if was_in_force else "Activate",
            }
        )
    return rows


def explain(rules: Any, found: Sequence[Finding]) -> dict[str, Any]:
    """Return the context of read.html: each rule with its findings, then each system call with its outcome.

    With an error among the findings, the context holds only the findings.
    """
    of_rule: dict[int | None, list[Finding]] = {}
    for finding in found:
        of_rule.setdefault(finding.rule, []).append(finding)
    broken = any(finding.level == ERROR for finding in found)
    context: dict[str, Any] = {"general": of_rule.get(None, []), "broken": broken}
    if broken:
        return context | {"others": [finding for finding in found if finding.rule]}
    steps = outcomes(rules)
    return context | {
        "default": _action((rules or {}).get("defaultAction", "SCMP_ACT_ALLOW")),
        "rules": [
            {
                "number": number,
                "action": _action(rule["action"]),
                "names": [(name, describe(name)) for name in names_of(rule)],
                "condition": condition(rule.get("args") or ()),
                "comment": rule.get("comment") or "",
                "dropped": why_dropped(rule),
                "findings": of_rule.get(number, []),
            }
            for number, rule in enumerate((rules or {}).get("syscalls") or (), 1)
        ],
        "calls": [
            (call, in_words(steps[call.name]) if call.name in steps else "not known to gVisor")
            for call in table().values()
        ],
    }


def _action(name: str) -> dict[str, str]:
    """Return the action's short label and its name in the rules."""
    return {"label": ACTIONS[name].partition(":")[0], "name": name}


@require_POST
def check(request: HttpRequest, model_admin: Admin) -> HttpResponse:
    """Return an HTML fragment that explains the rules in the editor."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    text = (RulesWidget().value_from_datadict(request.POST, {}, "rules") or "").strip()
    try:
        rules = json.loads(text) if text else None
        found = revisions.check(rules)
    except (ValueError, RecursionError) as e:
        rules, found = None, [Finding(ERROR, "", f"Not JSON: {e}")]
    return render(request, f"{FOLDER}/read.html", {"read": explain(rules, found)})


@require_POST
def editor(request: HttpRequest, model_admin: Admin) -> HttpResponse:
    """Return the editor with the same rules, as rows or as JSON: the POST field `to` decides."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    field: Any = SeccompProfileForm.base_fields["rules"]
    widget = copy.deepcopy(field.widget)
    text = widget.value_from_datadict(request.POST, {}, "rules") or ""
    with contextlib.suppress(ValueError, RecursionError):
        text = field.prepare_value(json.loads(text))
    widget.mode = FORM if request.POST.get("to") == FORM else JSON
    return HttpResponse(widget.render("rules", text, {"id": "id_rules"}))


def _profile(request: HttpRequest, model_admin: Admin, profile_id: int, *, change: bool = False) -> SeccompProfile:
    rows = SeccompProfile.objects.select_related("active", "parent__active")
    profile: SeccompProfile = get_object_or_404(rows, pk=profile_id)
    may = model_admin.has_change_permission if change else model_admin.has_view_permission
    if not may(request, profile):
        raise PermissionDenied
    return profile


def _revision(profile: SeccompProfile, number: int) -> SeccompRevision:
    rows = profile.revisions.select_related("parent_revision__profile")
    revision: SeccompRevision = get_object_or_404(rows, number=min(number, 2**31 - 1))
    revision.profile = profile
    return revision


def _to(profile: SeccompProfile) -> HttpResponse:
    return redirect("admin:seccomp_profiles_seccompprofile_change", profile.pk)


def _context(request: HttpRequest, model_admin: Admin, profile: SeccompProfile, title: str) -> dict[str, Any]:
    return {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": profile,
        "profile": profile,
        "title": title,
    }


@require_safe
def show_revision(request: HttpRequest, model_admin: Admin, profile_id: int, number: int) -> HttpResponse:
    profile = _profile(request, model_admin, profile_id)
    revision = _revision(profile, number)
    found = revisions.findings_of(revision)
    context = _context(request, model_admin, profile, f"{profile.name}, revision {number}")
    return render(
        request,
        f"{FOLDER}/revision.html",
        context | {"revision": revision, "read": explain(revision.effective, found)},
    )


@require_safe
def show_diff(request: HttpRequest, model_admin: Admin, profile_id: int) -> HttpResponse:
    profile = _profile(request, model_admin, profile_id)
    before = _requested_revision(profile, request.GET.get("before", "")) or profile.current
    after = _requested_revision(profile, request.GET.get("after", "")) or _revision(
        profile, profile.revisions.latest("number").number
    )
    found = diff(before.effective, after.effective)
    sections = (("Newly denied", found.denied), ("Newly allowed", found.allowed), ("Other changes", found.changed))
    context = _context(request, model_admin, profile, f"{profile.name}: {before} and {after}")
    return render(
        request, f"{FOLDER}/diff.html", context | {"before": before, "after": after, "sections": sections}
    )


def _requested_revision(profile: SeccompProfile, text: str) -> SeccompRevision | None:
    """Return the revision that a query parameter names: a number or "parent". Raises Http404."""
    if text == "parent" and profile.parent:
        return profile.parent.current
    number = _requested_number(text)
    return None if number is None else _revision(profile, number)


def _requested_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@require_safe
def export(request: HttpRequest, model_admin: Admin, profile_id: int, number: int) -> HttpResponse:
    profile = _profile(request, model_admin, profile_id)
    revision = _revision(profile, number)
    content = revision.rules if request.GET.get("form") == "rules" and not profile.parent else revision.effective
    response = JsonResponse(content, safe=False, json_dumps_params={"indent": 2})
    response["Content-Disposition"] = f'attachment; filename="{profile.name}-{number}.json"'
    return response


@require_POST
def activate(request: HttpRequest, model_admin: Admin, profile_id: int, number: int) -> HttpResponse:
    profile = _profile(request, model_admin, profile_id, change=True)
    revision = _revision(profile, number)
    override = request.POST.get("override", "")[:2000].replace("\0", "")
    try:
        done = activation.activate(revision, by=actor_name(request.user), override=override)
    except activation.NotProven as e:
        context = _context(request, model_admin, profile, f"Activate {revision}?")
        context |= {"revision": revision, "obstacles": e.obstacles, "changes": changes(profile.current, revision)}
        return render(request, f"{FOLDER}/activate.html", context)
    messages.success(request, f"Revision {number} is in force.")
    for proof in activation.obstacles(revision) if done.override else ():
        messages.warning(request, f"Revision {number} is not proven: {proof.obstacle}.")
    return _to(profile)


@require_POST
def follow(request: HttpRequest, model_admin: Admin, profile_id: int) -> HttpResponse:
    """Add a revision with the same changes on top of the parent's revision in force, and activate it if proven."""
    profile = _profile(request, model_admin, profile_id, change=True)
    if profile.parent is None:
        raise Http404
    edited = profile.edited
    by = actor_name(request.user)
    try:
        note = f"Rebased on {profile.parent.current}."
        revision = revisions.add_revision(profile, allow=edited.allow, deny=edited.deny, note=note, by=by)
        activation.activate(revision, by=by)
        messages.success(request, f"Revision {revision.number} is in force.")
    except ValidationError as e:
        messages.error(request, " ".join(e.messages))
    except activation.NotProven as e:
        messages.warning(request, f"{e.detail} The revision stays a draft until it is activated below.")
    return _to(profile)
