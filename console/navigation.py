"""The menu: grouped by purpose, with only those entries that the user may see."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from alerts.firing import firing_of
from executions.people import MAY_RUN

RUNS, OPERATE, CONFIGURE, AUDIT, PEOPLE = "Runs", "Operations", "Configuration", "Audit", "People"
SECTIONS = (RUNS, OPERATE, CONFIGURE, AUDIT, PEOPLE)
# Section and icon by model. Other models go to their app's section, sorted by name.
PLACES = {
    "executions.Execution": (RUNS, "play_circle"),
    "failures.FailureGroup": (RUNS, "bug_report"),
    "alerts.Alert": (OPERATE, "notifications_active"),
    "alerts.Silence": (OPERATE, "notifications_off"),
    "alerts.Notification": (OPERATE, "forward_to_inbox"),
    "sandboxes.Sandbox": (OPERATE, "deployed_code"),
    "callbacks.Delivery": (OPERATE, "outgoing_mail"),
    "django_q.OrmQ": (OPERATE, "stacks"),
    "django_q.Failure": (OPERATE, "error"),
    "runtimes.Runtime": (CONFIGURE, "terminal"),
    "builds.RuntimeBuild": (CONFIGURE, "package_2"),
    "seccomp_profiles.SeccompProfile": (CONFIGURE, "policy"),
    "inspections.Inspection": (CONFIGURE, "troubleshoot"),
    "egress.EgressRule": (CONFIGURE, "public"),
    "alerts.Rule": (CONFIGURE, "rule"),
    "alerts.Channel": (CONFIGURE, "campaign"),
    "clients.Client": (CONFIGURE, "smart_toy"),
    "clients.Token": (CONFIGURE, "key"),
    "usage.Price": (CONFIGURE, "sell"),
    "audit.TrailEntry": (AUDIT, "history"),
    "axes.AccessLog": (AUDIT, "login"),
    "axes.AccessAttempt": (AUDIT, "gpp_maybe"),
    "audit.Seal": (AUDIT, "verified"),
    "audit.Verification": (AUDIT, "fact_check"),
    "audit.PurgeRecord": (AUDIT, "delete_sweep"),
    "audit.RetentionPolicy": (AUDIT, "schedule"),
    "redaction.RedactionPattern": (AUDIT, "visibility_off"),
    "auth.User": (PEOPLE, "person"),
    "auth.Group": (PEOPLE, "group"),
    "usersessions.UserSession": (PEOPLE, "devices"),
}
# Menu titles that differ from the model's own name.
TITLES = {
    "user sessions": "Sessions",
    "access logs": "Logins",
    "access attempts": "Wrong passwords",
    "changes": "Audit trail",
    "notifications": "Messages of alerts",
}
APPS = {"executions": OPERATE, "audit": AUDIT, "auth": PEOPLE, "axes": AUDIT, "usersessions": PEOPLE}
# URL name, section, icon, title and required permission of each page. Pages without a permission are for all staff.
PAGES = (
    ("playground", RUNS, "code_blocks", "Playground", MAY_RUN),
    ("pool", OPERATE, "dns", "Pool", "sandboxes.view_sandbox"),
    ("doctor", OPERATE, "stethoscope", "Doctor", "sandboxes.view_sandbox"),
    ("schedule", OPERATE, "schedule", "Scheduled jobs", "sandboxes.view_sandbox"),
    ("usage", OPERATE, "bar_chart", "Usage and quotas", "usage.view_hourlyusage"),
    ("about", OPERATE, "info", "About", ""),
)


def sections(request: HttpRequest) -> list[dict[str, Any]]:
    items: dict[str, list[dict[str, Any]]] = {section: [] for section in SECTIONS}
    items[RUNS].append(_item("Dashboard", "space_dashboard", reverse("admin:index")))
    for section, item in [*_pages(request), *_models(request)]:
        items[section].append(item)
    return [
        {"title": section, "separator": True, "items": items[section]} for section in SECTIONS if items[section]
    ]


def _pages(request: HttpRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, section, icon, title, permission in PAGES:
        if not permission or request.user.has_perm(permission):
            yield section, _item(title, icon, reverse(f"admin:{name}"))


def _models(request: HttpRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    known = list(PLACES)
    registered = {model._meta.label: page for model, page in admin.site._registry.items()}
    for label in sorted(
        registered, key=lambda label: (known.index(label) if label in known else len(known), label)
    ):
        page = registered[label]
        options = page.model._meta
        if page.has_view_permission(request) and page.has_module_permission(request):
            section, icon = PLACES.get(label, (APPS.get(options.app_label, CONFIGURE), "table"))
            link = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
            name = str(options.verbose_name_plural)
            item = _item(TITLES.get(name, name[:1].upper() + name[1:]), icon, link)
            yield section, item | (_firing(request) if label == "alerts.Alert" else {})


def _firing(request: HttpRequest) -> dict[str, Any]:
    """Return the badge with the number of alerts that fire, nothing if none does."""
    number = firing_of(request).total()
    return {"badge": str(number), "badge_variant": "danger"} if number else {}


def _item(title: str, icon: str, link: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": link}
