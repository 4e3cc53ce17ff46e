"""Turn what the provider says into a user with roles. Who is refused learns why.

An identity is the pair of issuer and subject, never a name or an e-mail address, which people change and providers
reuse. A local account is taken over only if the operator trusts the provider's addresses, and never a superuser's:
those stay the way in when the provider is wrong.
"""

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from people.models import Identity
from people.provider import Claims
from sandbox_platform.kit.locks import Lock


@dataclass
class NoAccess(Exception):
    """The provider is believed, and the person has no access. `why` and `remedy` are for the person."""

    why: str
    remedy: str
    user: User | None = None  # whose roles were taken away


def user_of(claims: Claims) -> User:
    """Return the user with the roles that their groups give them. Raises NoAccess.

    Somebody who has lost all groups loses the roles here, too, before they are refused.
    """
    roles = roles_of(claims)
    if not roles:
        raise _without_role(claims)
    with transaction.atomic():
        user = _known(claims) or _new(claims)
        _refuse_unfit(user)
        user.groups.set(roles)
    return user


def _known(claims: Claims) -> User | None:
    identity = Identity.objects.filter(issuer=claims.issuer, subject=claims.subject).select_related("user").first()
    return identity.user if identity else None


def _new(claims: Claims) -> User:
    """Return the user that the person becomes. Two first logins at the same time come one after the other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.FIRST_LOGIN])
    return _known(claims) or _linked(claims) or _created(claims)


def roles_of(claims: Claims) -> list[Group]:
    """Return the roles that the person's groups give. Raises NoAccess if the setting names one that does not exist."""
    names = {role for group, role in settings.SANDBOX_OIDC_ROLES.items() if group in (claims.groups or ())}
    roles = list(Group.objects.filter(name__in=names))
    if missing := names - {role.name for role in roles}:
        raise NoAccess(
            f"Your groups give you the role {', '.join(sorted(missing))}, which does not exist here.",
            "Correct SANDBOX_OIDC_ROLES, or make a role of that name.",
        )
    return roles


def _without_role(claims: Claims) -> NoAccess:
    if user := _known(claims):
        user.groups.clear()
    said = (
        f"The provider says nothing about your groups (claim {settings.SANDBOX_OIDC_GROUPS_CLAIM})."
        if claims.groups is None
        else "You are in no group that has access to this platform."
    )
    remedy = "Ask for a group that has access; then log in again. Groups and roles: SANDBOX_OIDC_ROLES."
    return NoAccess(said, remedy, user)


def _refuse_unfit(user: User) -> None:
    if not user.is_active:
        raise NoAccess("Your account on this platform is switched off.", "An administrator can switch it on.")
    if user.is_superuser:
        raise NoAccess(
            f"{user} is a superuser, and superusers log in with their password only.",
            "Take the superuser status away to use single sign-on.",
        )


def _linked(claims: Claims) -> User | None:
    """Return the local user with the same address, whose account becomes the person's, if the operator allows that."""
    if not (settings.SANDBOX_OIDC_LINK_BY_EMAIL and claims.email and claims.email_verified):
        return None
    same = list(User.objects.filter(email__iexact=claims.email, identity=None)[:2])
    if len(same) != 1:
        return None
    (user,) = same
    _refuse_unfit(user)
    Identity.objects.create(issuer=claims.issuer, subject=claims.subject, user=user)
    return user


def _created(claims: Claims) -> User:
    name = _name(claims)
    if User.objects.filter(username__iexact=name).exists():
        raise _taken(name)
    user = User(
        username=name,
        email=claims.email if claims.email_verified else "",
        first_name=claims.first_name,
        last_name=claims.last_name,
        is_staff=True,
    )
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as e:  # an administrator has just created one of this name
        raise _taken(name) from e
    Identity.objects.create(issuer=claims.issuer, subject=claims.subject, user=user)
    return user


def _taken(name: str) -> NoAccess:
    return NoAccess(
        f"There is already a user {name} here, and it is not known that this is you.",
        "An administrator can rename that user, or allow linking by e-mail address (SANDBOX_OIDC_LINK_BY_EMAIL).",
    )


def _name(claims: Claims) -> str:
    """Return the first of the person's names that can be a user name."""
    for name in (claims.username, claims.email if claims.email_verified else "", claims.subject[:150]):
        try:
            UnicodeUsernameValidator()(name)
        except ValidationError:
            continue
        return name
    raise NoAccess(
        "The provider sends no name that can be a user name: letters, digits and @ . + - _ only.",
        "Have it send preferred_username, or a verified e-mail address.",
    )
