"""Browsers in which a user has logged in before. Wrong passwords from elsewhere do not lock these out.

Without this, whoever shares an address with an administrator (the same office, or Docker's own address) could keep the
administrator out with a few wrong passwords. A lock by user name and address stays for all other browsers. The cookie
is no password: it only keeps a browser apart from the others, and it ends with the password that it was made under.
"""

import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core import signing
from django.core.cache import cache
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, get_random_string, salted_hmac

logger = logging.getLogger(__name__)

COOKIE = "known_device"
SALT = "console.devices"
LASTS_S = 90 * 24 * 3600
# Wrong passwords of one known browser; after these it counts like any other. Counted in each web process.
MOST_FAILURES = 20


@receiver(user_logged_in)
def note_login(sender: Any, request: HttpRequest | None, user: AbstractBaseUser, **kwargs: Any) -> None:
    if request is not None:
        request.logged_in_now = user  # type: ignore[attr-defined]


class KnownDeviceMiddleware:
    """Give the browser its cookie in the response to a login."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if user := getattr(request, "logged_in_now", None):
            response.set_cookie(
                COOKIE,
                signing.dumps([user.pk, _proof(user), get_random_string(12)], salt=SALT),
                max_age=LASTS_S,
                path="/admin/",
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        return response


def is_known(request: HttpRequest | None, credentials: dict[str, Any] | None) -> bool:
    """Return whether the browser has logged in as this user before, and has not failed too often since.

    django-axes calls this to ask whether to count an attempt and whether to refuse it.
    """
    name = (credentials or {}).get("username")
    cookie = request.COOKIES.get(COOKIE) if request is not None else None
    if not name or not cookie:
        return False
    try:
        pk, proof, device = signing.loads(cookie, salt=SALT, max_age=LASTS_S)
    except (signing.BadSignature, ValueError, TypeError):
        return False
    user = get_user_model().objects.filter(username=name, pk=pk).first()
    if user is None or not constant_time_compare(proof, _proof(user)):
        return False
    return bool(cache.get(_counter(device), 0) < MOST_FAILURES)


@receiver(user_login_failed)
def note_failure(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    """Count a wrong password of a known browser, and leave a line in the log: django-axes records only the others."""
    if not is_known(request, credentials) or request is None:
        return
    device = signing.loads(request.COOKIES[COOKIE], salt=SALT)[2]
    cache.add(_counter(device), 0, timeout=int(settings.AXES_COOLOFF_TIME.total_seconds()))
    logger.warning(
        "wrong password %s of %s in a known browser", cache.incr(_counter(device)), credentials.get("username")
    )


def _counter(device: str) -> str:
    return f"{SALT}.{device}"


def _proof(user: AbstractBaseUser) -> str:
    return salted_hmac(SALT, f"{user.pk}:{user.password}", algorithm="sha256").hexdigest()
