from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client as Browser

from console import roles

Visitor = Callable[[str], Browser]


@pytest.fixture
def visitor(db: None) -> Visitor:
    """A browser in which somebody of this role is logged in."""
    roles.ensure()

    def visit(role: str) -> Browser:
        user = User.objects.create_user(f"one {role}", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        browser = Browser()
        browser.force_login(user, "django.contrib.auth.backends.ModelBackend")
        return browser

    return visit
