"""The three roles of people, as groups. Those of API clients are clients.models.Role."""

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

ADMINISTRATOR, OPERATOR, AUDITOR = "administrator", "operator", "auditor"
OPERATED_APPS = (
    *("builds", "callbacks", "clients", "console", "django_q", "egress", "executions", "inspections"),
    *("runtimes", "sandboxes", "seccomp_profiles"),
)
APPS = (*OPERATED_APPS, "audit", "auth", "axes", "redaction")
# What operators do, beside looking at what they operate.
OPERATIONS = ("run_execution", "cancel_execution", "drain_sandbox", "change_delivery", "change_failure")
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
    """The groups with exactly these permissions; returns those that were changed. A release may bring new tables,
    and a group that somebody has trimmed is no role any more: for that one makes a group of one's own."""
    changed = []
    for name in (ADMINISTRATOR, OPERATOR, AUDITOR):
        group, created = Group.objects.get_or_create(name=name)
        wanted = set(Permission.objects.filter(permissions_of(name)))
        if created or wanted != set(group.permissions.all()):
            group.permissions.set(wanted)
            changed.append(name)
    return changed
