"""What a role may do; which rows it may see is ExecutionQuerySet.visible_to."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView


class MayRun(IsAuthenticated):
    """To start, cancel or run again takes a role that may run; to look takes any."""

    message = "The role of this client is auditor: it may look, not run. An administrator can change the role."

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller: Any = request.user
        return super().has_permission(request, view) and (request.method in SAFE_METHODS or caller.may_run)


class MayAdminister(IsAuthenticated):
    """To change the platform takes an administrator; to look takes any role."""

    message = "Only a client whose role is administrator may change this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller: Any = request.user
        return super().has_permission(request, view) and (request.method in SAFE_METHODS or caller.may_administer)


class MayAudit(IsAuthenticated):
    message = "Only a client whose role is auditor or administrator may read this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller: Any = request.user
        return super().has_permission(request, view) and caller.sees_everything
