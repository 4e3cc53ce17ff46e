"""The first steps of an installation: run a program, connect a caller, set a limit, look at the trail.

Each is done when the database shows that it was; what was found done is kept (FirstStep), because executions may be
purged. Administrators see them on the dashboard until all are done or they hide them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from audit.models.changes import ClientEvent
from audit.signals import trail_read
from clients.models import Client
from console.models import FirstStep
from console.site import ConsoleSite
from executions import people
from executions.models import Execution, Status
from executions.models.execution import CALLED_BY, SELF_TEST

RUN, CALL, LIMIT, TRAIL = NAMES = ("run", "call", "limit", "trail")
# Whoever may do all of the steps.
# Clients that nobody calls with.
OURS = (people.CLIENT, SELF_TEST)
PERMISSIONS = ("clients.change_client", people.MAY_RUN)
# RAGFlow's endpoint. A test compares.
RAGFLOW = "ragflow"
# What `make` runs after each start, in the name of the first client: scripts/smoke.py. A test compares. Runs of earlier
# releases have no label.
SMOKE_SHA256 = (
    "12c4d611c6f2cf55726f8269e3942069a2c62c770f0c5359490b85cbfdeae042",
    "ff0b2223de05af9b38fef2b5c4c3da7430fcc66a175250baf28583d4a7c1c43a",
)
LIMITS = [field.name for field in Client._meta.concrete_fields if field.name.startswith("max_")]
LOOKED_AT = 1000
# RAGFlow's default name for the service, in a network of Docker's that both share.
RAGFLOW_HOST = "sandbox-executor-manager"


@dataclass(frozen=True)
class Step:
    name: str
    title: str
    text: str
    link: str
    action: str
    done: bool


def _has_run() -> bool:
    # Whoever has just run a program is among the newest. The history may be long.
    newest = Execution.objects.exclude(endpoint=SELF_TEST).order_by("-pk")
    return any(
        status == Status.SUCCEEDED and code_sha256 not in SMOKE_SHA256
        for status, code_sha256 in newest.values_list("status", "code_sha256")[:LOOKED_AT]
    )


def _was_called() -> bool:
    # One look-up in an index for each client: the history may be long.
    by_hand = Q(code_sha256__in=SMOKE_SHA256) | Q(endpoint=RAGFLOW, labels__has_key=CALLED_BY)
    calls = Execution.objects.filter(client=OuterRef("pk")).exclude(by_hand)
    return bool(Client.objects.exclude(name__in=OURS).filter(Exists(calls)).exists())


def _has_limit() -> bool:
    limited = Q(*((f"{name}__isnull", False) for name in LIMITS), _connector=Q.OR)
    return bool(ClientEvent.objects.filter(limited, pgh_context__actor__startswith="user ").exists())


FACTS: dict[str, Callable[[], bool]] = {RUN: _has_run, CALL: _was_called, LIMIT: _has_limit}


def may_see(user: Any) -> bool:
    return all(user.has_perm(permission) for permission in PERMISSIONS)


def steps() -> list[Step]:
    """Return the steps. Those that are found done now are remembered."""
    done = set(FirstStep.objects.filter(person=None).values_list("name", flat=True))
    found = {name for name, is_done in FACTS.items() if name not in done and is_done()}
    remember(*found)
    client = Client.objects.exclude(name__in=OURS).order_by("pk").first()
    clients = reverse("admin:clients_client_changelist")
    limits = reverse("admin:clients_client_change", args=[client.pk]) if client else clients
    texts = {
        RUN: ("Run a program", "The playground has examples in each language, and shows output and timings. A "
              "program that a caller ran counts, too.",
              reverse("admin:playground"), "Open the playground"),
        CALL: ("Connect RAGFlow or another caller", "Copy the settings below. Tokens belong to clients and are shown "
               "once, when they are issued. A call of /run with curl is none of RAGFlow.", clients,
               "Clients and tokens"),
        LIMIT: ("Set a limit", "Give a client quotas (runs per minute and day, stored history) or caps of each run "
                "(memory, time), and save.", limits, f"Limits of {client}" if client else "Add a client"),
        TRAIL: ("Look at the audit trail", "It has who did what, when and from where, with the values before and "
                "after, such as the limit that you set.", reverse("admin:audit_trailentry_changelist"),
                "Open the trail"),
    }  # fmt: skip
    return [Step(name, *texts[name], done=name in done | found) for name in NAMES]


def remember(*names: str) -> None:
    if names:
        FirstStep.objects.bulk_create([FirstStep(name=name) for name in names], ignore_conflicts=True)


@receiver(trail_read)
def _note_reader(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    if may_see(request.user) and not FirstStep.objects.filter(name=TRAIL, person=None).exists():
        remember(TRAIL)


def on_dashboard(request: HttpRequest) -> dict[str, Any] | None:
    """Return the context of console/first_steps_card.html; None for whom it is not, who hides it, or if all is done."""
    if not may_see(request.user):
        return None
    marks = set(FirstStep.objects.filter(Q(person=None) | _hidden_by(request)).values_list("name", flat=True))
    if FirstStep.HIDDEN in marks or marks.issuperset(NAMES):
        return None
    context = _context(request)
    return None if context["left"] == 0 else context


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    """Show the steps on a page of their own, and hide them on the dashboard or show them again."""
    if not may_see(request.user):
        raise PermissionDenied
    if request.method == "POST":
        if "hide" in request.POST:
            FirstStep.objects.get_or_create(name=FirstStep.HIDDEN, person_id=request.user.pk)
        else:
            FirstStep.objects.filter(_hidden_by(request)).delete()
        return redirect("admin:index")
    hidden = FirstStep.objects.filter(_hidden_by(request)).exists()
    return site.page(request, "console/first_steps.html", "First steps", first=_context(request), hidden=hidden)


def _hidden_by(request: HttpRequest) -> Q:
    return Q(name=FirstStep.HIDDEN, person_id=request.user.pk)


def _context(request: HttpRequest) -> dict[str, Any]:
    listed = steps()
    example = {"runtime": "python", "code": "print(6 * 7)", "wait": 10}
    return {
        "steps": listed,
        "left": sum(not step.done for step in listed),
        "ragflow": f"SANDBOX_ENABLED=1\nSANDBOX_HOST={RAGFLOW_HOST}\nSANDBOX_EXECUTOR_MANAGER_API_TOKEN=TOKEN",
        "endpoint": f"http://ragflow:TOKEN@{RAGFLOW_HOST}:9385",
        "host": request.get_host(),
        "port": settings.RAGFLOW_PORT,
        "curl": f"curl -s {request.build_absolute_uri('/api/v1/executions')} \\\n"
        f"  -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/json' \\\n  -d '{json.dumps(example)}'",
    }
