"""What tests of sign-on do and look at."""

from typing import Any

from django.test import Client as Browser
from django.urls import reverse

from audit import queries
from audit.models import TrailEntry

PASSWORD = "correct horse battery staple"


def log_in(browser: Browser, name: str = "admin", password: str = PASSWORD, **more: str) -> Any:
    return browser.post(reverse("admin:login"), {"username": name, "password": password, **more})


def acts(kind: str) -> list[TrailEntry]:
    """The acts of this kind in the trail, oldest first."""
    return [
        entry
        for entry in queries.trail().filter(pgh_obj_model="audit.Act").order_by("pgh_id")
        if entry.code == kind
    ]


def entries(model: str) -> list[TrailEntry]:
    return list(queries.trail().filter(pgh_obj_model=model).order_by("pgh_id"))
