"""Permissions of roles. ExecutionQuerySet.visible_to decides which rows a role may see."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView


class MayRun(IsAuthenticated):
    """Reading is open to every role. Starting, cancelling and rerunning require a role that may run."""

    message = "This client has the role auditor, which may read but not run. An administrator can change the role."

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller: Any = request.user
        return super().has_permission(request, view) and (request.method in SAFE_METHODS or caller.may_run)


class MayAdminister(IsAuthenticated):
    """Reading is open to every role. Changes require an administrator."""

    message = "Only a client with the role administrator may change this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller: Any = request.user
        return super().has_permission(request, view) and (request.method in SAFE_METHODS or caller.may_administer)


class MayAudit(IsAuthenticated):
    message = "Only a client with the role auditor or administrator may read this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller: Any = request.user
        return super().has_permission(request, view) and caller.sees_everything
