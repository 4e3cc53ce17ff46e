"""Sessions: who is logged in where. Ending one is recorded before it is done."""

from collections.abc import Iterable

from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind


def open_sessions() -> QuerySet[UserSession]:
    """Return the sessions that have not ended or expired."""
    alive = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    sessions: QuerySet[UserSession] = UserSession.objects.filter(session_key__in=alive).select_related("user")
    return sessions


def end(request: HttpRequest, sessions: Iterable[UserSession]) -> int:
    number = 0
    for session in sessions:
        name = f"user {session.user.get_username()}"
        acts.done(
            Kind.ENDED,
            f"session of {name}",
            session.pk,
            http=request,
            behalf=name,
            before={
                "address": session.ip,
                "browser": session.user_agent,
                "method": session.data.get("method", ""),
                "logged in at": f"{session.created_at:%Y-%m-%d %H:%M:%S} UTC",
            },
        )
        session.end()
        number += 1
    return number


def end_all_of(request: HttpRequest, user: User) -> int:
    """End all of the user's sessions but that of the request."""
    return end(request, open_sessions().filter(user=user).exclude(session_key=request.session.session_key))
