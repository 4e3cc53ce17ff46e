"""Submits what people run in the web UI: a rerun as its execution's client, everything else as `console`.

The client `console` has caps and quotas like any other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest

from clients.admission import NeverFits, OverLimit, RuntimeNotAllowed
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
# The label with the person's name.
LABEL = "user"


def client() -> Client:
    """Return the console's client. It has no token, so nobody can call the API with it."""
    return Client.objects.get_or_create(name=CLIENT)[0]


def client_of(execution: Execution) -> Client:
    """Return the client that a rerun belongs to: the execution's own, or `console` if it had none.

    The client's profile, caps, egress and redaction then apply as they do now.
    """
    return execution.client or client()


class NotNow(Conflicting):
    """The submission was refused; the text is a message for the person."""

    def __init__(self, why: str) -> None:
        super().__init__(why, code="not_now")


def run(data: Any, *, by: AbstractBaseUser | AnonymousUser, http: HttpRequest) -> Execution:
    """Submit what somebody sends in the form of POST /api/v1/executions. Raises ValidationError and Refused."""
    form = validated(ExecutionForm, data)
    runtime = submission.runtime_named(form["runtime"])
    return submit(submission.request_of(form, runtime=runtime, client=client(), http=http), by)


def submit(request: services.Request, user: AbstractBaseUser | AnonymousUser) -> Execution:
    """Submit the request with the user's name as a label. Raises NotNow."""
    labels = {**request.labels, LABEL: user.get_username()}
    request = replace(request, labels=labels, endpoint=ENDPOINT)
    with admission(request.client):
        return services.submit(request, policy=request.runtime.code_policy)


@contextmanager
def admission(client: Client | None) -> Iterator[None]:
    """Raise NotNow if the client is disabled, or for a refusal inside: what people run has a client's limits, too."""
    if client and not client.enabled:
        raise NotNow(f"The client {client} is disabled. An administrator can enable it.")
    try:
        yield
    except (RuntimeNotAllowed, LimitTooHigh, OverLimit, NeverFits) as e:
        raise NotNow(str(e)) from e
