"""What Ctrl+K finds: pages of the menu, and rows by their names; only what the person may see."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model, Q
from django.http import HttpRequest
from django.urls import reverse

from clients.models import Client
from console import navigation
from executions.models import Execution
from executions.searching import with_id_part
from runtimes.models import Runtime
from seccomp_profiles.models import SeccompProfile

MOST = 8
LONGEST = 200


@dataclass(frozen=True)
class Found:
    title: str
    kind: str
    link: str


def search(request: HttpRequest, text: str) -> list[Found]:
    text = text.replace("\0", "").strip()[:LONGEST]
    return [*_pages(request, text), *_rows(request, text)] if text else []


def _pages(request: HttpRequest, text: str) -> Iterator[Found]:
    for section in navigation.sections(request):
        for item in section["items"]:
            if text.lower() in item["title"].lower():
                yield Found(item["title"], section["title"], item["link"])


def _rows(request: HttpRequest, text: str) -> Iterator[Found]:
    sources: tuple[tuple[type[Model], Callable[[], Any]], ...] = (
        (Execution, lambda: with_id_part(text, Execution.objects.all(), MOST)),
        (Runtime, lambda: Runtime.objects.filter(Q(slug__icontains=text) | Q(name__icontains=text))),
        (Client, lambda: Client.objects.filter(name__icontains=text)),
        (SeccompProfile, lambda: SeccompProfile.objects.filter(name__icontains=text)),
    )
    for model, found in sources:
        options = model._meta
        if request.user.has_perm(f"{options.app_label}.view_{options.model_name}"):
            for row in found()[:MOST]:
                link = reverse(
                    f"admin:{options.app_label}_{options.model_name}_change", args=[getattr(row, "pk", row)]
                )
                yield Found(str(row), str(options.verbose_name).capitalize(), link)
    if request.user.has_perm("executions.view_execution"):
        query = f"{reverse('admin:executions_execution_changelist')}?{urlencode({'q': text})}"
        yield Found(f"Search executions for “{text}”", "Executions", query)
