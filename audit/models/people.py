"""What the trail watches of people: tables of Django, django-axes and django-allauth, under names that it can show.

Triggers on tables of other packages belong to a model of ours, hence the proxies.
"""

from allauth.mfa.models import Authenticator
from axes.models import AccessLog
from django.contrib.auth.models import Group, User


class Person(User):
    class Meta:
        proxy = True
        verbose_name = "user"
        default_permissions = ()


class PersonRole(User.groups.through):  # type: ignore[misc, name-defined]
    class Meta:
        proxy = True
        verbose_name = "role of a user"
        default_permissions = ()


class PersonPermission(User.user_permissions.through):  # type: ignore[misc, name-defined]
    class Meta:
        proxy = True
        verbose_name = "permission of a user"
        default_permissions = ()


class Role(Group):
    class Meta:
        proxy = True
        verbose_name = "role"
        default_permissions = ()


class RolePermission(Group.permissions.through):  # type: ignore[misc, name-defined]
    class Meta:
        proxy = True
        verbose_name = "permission of a role"
        default_permissions = ()


class Login(AccessLog):  # type: ignore[misc]
    class Meta:
        proxy = True
        default_permissions = ()


class Factor(Authenticator):  # type: ignore[misc]
    class Meta:
        proxy = True
        verbose_name = "second factor"
        default_permissions = ()
