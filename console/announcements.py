"""Tell people, at their next login, that somebody else has set their password.

An administrator may have to do that, but cannot do it quietly: whoever sets the password can act under the name.
"""

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest
from django.urls import reverse

from audit.people import password_changes
from sandbox_platform.kit.actors import actor_of


# Connected before Django's own receiver, which overwrites `last_login`: `console` comes first in INSTALLED_APPS.
@receiver(user_logged_in)
def announce(sender: Any, request: HttpRequest | None, user: AbstractBaseUser, **kwargs: Any) -> None:
    if request is None or not hasattr(request, "_messages"):
        return  # not a login by the form
    since = user.last_login or getattr(user, "date_joined", None)
    for change in password_changes(user.pk, since):
        # A login stores the password anew when the way of hashing it has changed.
        if change.who != actor_of(user) and change.url != reverse("admin:login"):
            messages.warning(
                request,
                f"Your password was set by {change.who} on {change.at:%Y-%m-%d at %H:%M} UTC. "
                "If you did not ask for that, tell another administrator or auditor. The audit trail has the change.",
            )
