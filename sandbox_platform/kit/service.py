"""The commands that run as services, beside the web."""

from django.core.checks import Tags
from django.core.management.base import BaseCommand

SETTINGS = "settings"  # the tag of the checks of what an operator sets


class ServiceCommand(BaseCommand):
    """Check the settings before the start.

    Django's own checks, of models, pages and URLs, are of the code, and would load every view: `manage.py migrate`
    makes them before the services start.
    """

    requires_system_checks: list[str] | tuple[str, ...] = (Tags.security, SETTINGS)
