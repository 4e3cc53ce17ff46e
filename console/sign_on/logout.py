"""Logging out here, and on at the OpenID provider if it offers that (RP-initiated logout)."""

import logging
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from console.sign_on import methods
from people import provider
from people.provider import ProviderError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """What the session says of the provider, which it no longer does after the logout."""

    by_provider: bool
    id_token: str


def note(request: HttpRequest) -> Ending:
    session = request.session
    through = session.get(methods.KIND) == methods.OPENID
    current = session.get(methods.ISSUER) == settings.SANDBOX_OIDC_ISSUER and provider.is_configured()
    return Ending(through and current, session.get(methods.HINT, ""))


def lead_on(request: HttpRequest, ending: Ending, response: HttpResponse) -> None:
    """Say on the page whether the person is still logged in at the provider, or lead there to log out.

    The session here has ended by now, whatever the provider does. The page leads on by itself: a redirect of the form
    would be refused by the browser, because forms of the console may only go to the console (form-action).
    """
    if not (ending.by_provider and isinstance(response, TemplateResponse)):
        return
    address = _address(request, ending.id_token) if settings.SANDBOX_OIDC_LOGOUT else ""
    response.context_data = {
        **(response.context_data or {}),
        "provider": settings.SANDBOX_OIDC_NAME,
        "provider_logout": address,
    }
    if address:
        response["Refresh"] = f"0; url={address}"


def _address(request: HttpRequest, id_token: str) -> str:
    try:
        address = provider.logout_address(id_token, request.build_absolute_uri(reverse("admin:login")))
    except ProviderError:  # which has logged why
        return ""
    if not address:
        logger.warning("the OpenID provider has no end_session_endpoint: nobody is logged out there")
    return address
