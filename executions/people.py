"""Submits what people run in the web UI, as the client `console`, which has caps and quotas like any other."""

from dataclasses import replace

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from clients.admission import NeverFits, OverLimit
from clients.models import Client
from executions import services
from executions.limits import LimitTooHigh
from executions.models import Execution

CLIENT = "console"
ENDPOINT = "console"
# The label with the person's name.
LABEL = "user"


def client() -> Client:
    """Return the console's client. It has no token, so nobody can call the API with it."""
    return Client.objects.get_or_create(name=CLIENT)[0]


class NotNow(Exception):
    """The submission was refused; the text is a message for the person."""


def submit(request: services.Request, user: AbstractBaseUser | AnonymousUser) -> Execution:
    """Submit the request with the user's name as a label. Raises NotNow."""
    labels = {**request.labels, LABEL: user.get_username()}
    request = replace(request, labels=labels, endpoint=ENDPOINT)
    if request.client and not request.client.enabled:
        raise NotNow(f"The client {CLIENT} is disabled. An administrator can enable it.")
    try:
        return services.submit(request, policy=request.runtime.code_policy)
    except (services.RuntimeNotAllowed, LimitTooHigh, OverLimit, NeverFits) as e:
        raise NotNow(str(e)) from e
