"""Saved searches of the list of executions, per person."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import reverse

from executions.models import SavedSearch

MOST = 50


def searches_of(request: HttpRequest) -> QuerySet[SavedSearch]:
    return SavedSearch.objects.filter(user_id=request.user.pk or 0)


def change(request: HttpRequest, *, site: Any) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not request.user.has_perm("executions.view_execution"):
        raise PermissionDenied
    mine = searches_of(request)
    executions = reverse("admin:executions_execution_changelist")
    if number := request.POST.get("forget", ""):
        if number.isascii() and number.isdigit() and len(number) < 16:
            mine.filter(pk=number).delete()
        return redirect(executions)
    name = request.POST.get("name", "").replace("\0", "").strip()[:60]
    query = request.POST.get("query", "").replace("\0", "")
    if not name or len(query) > 2000 or mine.count() >= MOST:
        messages.error(request, f"A search needs a name. Each person may save {MOST} of at most 2,000 characters.")
    else:
        mine.update_or_create(user_id=request.user.pk or 0, name=name, defaults={"query": query})
    return redirect(f"{executions}?{query}")
