"""The three roles of people, as groups. The roles of API clients are clients.models.Role."""

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

ADMINISTRATOR, OPERATOR, AUDITOR = "administrator", "operator", "auditor"
OPERATED_APPS = (
    *("alerts", "builds", "callbacks", "clients", "console", "django_q", "egress", "executions", "failures"),
    *("inspections", "runtimes", "sandboxes", "seccomp_profiles", "usage"),
)
APPS = (*OPERATED_APPS, "audit", "auth", "axes", "redaction", "usersessions")
# Permissions of operators beside viewing.
OPERATIONS = (
    "run_execution",
    "cancel_execution",
    "drain_sandbox",
    "change_delivery",
    "change_failure",
    "add_silence",
    "change_silence",
)
OPERATED = Q(content_type__app_label__in=OPERATED_APPS)
LOOKING = Q(codename__startswith="view_")


def permissions_of(role: str) -> Q:
    ours = Q(content_type__app_label__in=APPS)
    match role:
        case "administrator":
            return ours
        case "operator":
            return OPERATED & (LOOKING | Q(codename__in=OPERATIONS))
        case "auditor":
            return ours & LOOKING
        case _:
            raise ValueError(role)


def ensure() -> list[str]:
    """Give the three groups exactly their permissions, and return the names of those that changed.

    Run at every start: a release may add tables, and manual changes of these groups are undone. Other permissions
    need a group of their own.
    """
    changed = []
    for name in (ADMINISTRATOR, OPERATOR, AUDITOR):
        group, created = Group.objects.get_or_create(name=name)
        wanted = set(Permission.objects.filter(permissions_of(name)))
        if created or wanted != set(group.permissions.all()):
            group.permissions.set(wanted)
            changed.append(name)
    return changed
