"""What people run themselves, in the web UI: as a client of its own, which has caps and limits like any other."""

from dataclasses import replace
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest

from clients.admission import NeverFits, OverLimit
from clients.models import Client
from executions import services, submission
from executions.forms import ExecutionForm
from executions.limits import LimitTooHigh
from executions.models import Execution
from sandbox_platform.kit.errors import Conflicting
from sandbox_platform.kit.fields import validated

CLIENT = "console"
ENDPOINT = "console"
MAY_RUN = "executions.run_execution"
# The label that says who it was.
LABEL = "user"


def client() -> Client:
    """Has no token: nobody calls the API with it."""
    return Client.objects.get_or_create(name=CLIENT)[0]


class NotNow(Conflicting):
    """What the platform says to a caller who may not, in words."""

    def __init__(self, why: str) -> None:
        super().__init__(why, code="not_now")


def run(data: Any, *, by: AbstractBaseUser | AnonymousUser, http: HttpRequest) -> Execution:
    """Submit what somebody sends in the form of POST /api/v1/executions. Raises ValidationError and Refused."""
    form = validated(ExecutionForm, data)
    runtime = submission.runtime_named(form["runtime"])
    return submit(submission.request_of(form, runtime=runtime, client=client(), http=http), by)


def submit(request: services.Request, user: AbstractBaseUser | AnonymousUser) -> Execution:
    """Raises NotNow."""
    labels = {**request.labels, LABEL: user.get_username()}
    request = replace(request, labels=labels, endpoint=ENDPOINT)
    if request.client and not request.client.enabled:
        raise NotNow(f"The client {CLIENT} is switched off: an administrator can enable it.")
    try:
        return services.submit(request, policy=request.runtime.code_policy)
    except (services.RuntimeNotAllowed, LimitTooHigh, OverLimit, NeverFits) as e:
        raise NotNow(str(e)) from e
