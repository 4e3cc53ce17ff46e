"""What people run themselves, in the web UI: as a client of its own, which has caps and limits like any other."""

from dataclasses import replace

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from clients.admission import NeverFits, OverLimit
from clients.models import Client
from executions import services
from executions.limits import LimitTooHigh
from executions.models import Execution

CLIENT = "console"
ENDPOINT = "console"
# The label that says who it was.
LABEL = "user"


def client() -> Client:
    """Has no token: nobody calls the API with it."""
    return Client.objects.get_or_create(name=CLIENT)[0]


class NotNow(Exception):
    """What the platform says to a caller who may not, in words."""


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
