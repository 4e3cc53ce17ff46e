"""POST /executions of the API, for users who are logged in to the console."""

import dataclasses
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.urls import reverse
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.v1.base import ApiView
from executions import people, representation
from executions.admin import files
from executions.models import Execution


class MayPlay(BasePermission):
    message = "Your role may not run programs."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user.is_active and request.user.has_perm(people.MAY_RUN))


class RunFromConsole(ApiView):
    """Start an execution (POST) or return one (GET ?id=) for a console user, authenticated by the session."""

    schema = None  # not part of the API for clients
    authentication_classes = [SessionAuthentication]
    permission_classes = [MayPlay]

    def post(self, request: Request) -> Response:
        execution = people.run(request.data, by=request.user, http=request._request)
        return Response(_addresses(execution), status=202)

    def get(self, request: Request) -> Response:
        try:
            execution = Execution.objects.select_related("runtime").get(
                pk=UUID(request.query_params.get("id", ""))
            )
        except (ValueError, Execution.DoesNotExist) as e:
            raise Http404 from e
        if not request.user.has_perm("executions.view_execution"):
            raise PermissionDenied
        phases = {name: round(ms, 1) for name, ms in execution.phases_ms().items()}
        artifacts = [dataclasses.asdict(file) for file in files.artifacts(execution)]
        return Response(representation.detail(execution, request) | {"phases_ms": phases, "artifacts": artifacts})


def _addresses(execution: Execution) -> dict[str, str]:
    return {
        "id": str(execution.pk),
        "page": reverse("admin:executions_execution_change", args=[execution.pk]),
        "events": reverse("admin:executions_execution_events", args=[execution.pk]),
        "cancel": reverse("admin:executions_execution_cancel", args=[execution.pk]),
    }
