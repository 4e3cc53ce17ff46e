from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.contrib import admin
from django.core.checks import CheckMessage
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.module_loading import import_string
from unfold.sites import UnfoldAdminSite

# Path, URL name and view. The views are imported late, because the site is created before the apps are ready.
PAGES = (
    ("playground/", "playground", "console.playground.page"),
    ("pool/", "pool", "console.pool.page"),
    ("doctor/", "doctor", "console.doctor.page"),
    ("trials/<int:runtime_id>/", "trial", "console.trials.page"),
    ("descriptions/<int:runtime_id>/", "description", "inspections.pages.description"),
    ("schedule/", "schedule", "console.schedule.page"),
    ("first-steps/", "first_steps", "console.first_steps.page"),
    ("usage/", "usage", "usage.pages.page"),
    ("about/", "about", "console.about.page"),
    ("searches/", "searches", "executions.admin.searches.change"),
)


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """The admin site: the pages of the tables, and those in PAGES."""

    index_title = "Dashboard"
    logout_template = "console/sign_on/logged_out.html"
    enable_nav_sidebar = True

    def check(self, app_configs: Iterable[AppConfig] | None) -> list[CheckMessage]:
        admin.autodiscover()  # the URLs may not have been loaded before
        found: list[CheckMessage] = super().check(app_configs)
        return found

    def extra_urls(self) -> list[URLPattern]:
        return [
            path(address, self.admin_view(self._bound(import_string(view))), name=name)
            for address, name, view in PAGES
        ]

    def get_urls(self) -> list[Any]:
        # No object has an address outside of the admin, and the redirect to it fails for every other table.
        return [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        page: HttpResponse = import_module("console.sign_on.login").page(self, request, extra_context)
        return page

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        logout = import_module("console.sign_on.logout")
        session = logout.note(request)
        response: HttpResponse = super().logout(request, extra_context)
        logout.lead_on(request, session, response)
        return response

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Being staff allows to log in; a role allows to see something.
        if not request.user.has_perm("executions.view_execution"):
            raise PermissionDenied
        response: HttpResponse = super().index(request, extra_context)
        return response

    def app_index(self, request: HttpRequest, app_label: str, extra_context: Any = None) -> HttpResponse:
        if not request.user.has_module_perms(app_label):
            raise PermissionDenied
        response: HttpResponse = super().app_index(request, app_label, extra_context)
        return response

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return what Ctrl+K found."""
        commands = import_module("console.commands")  # it needs the models
        text = request.GET.get("s", "")
        context = {"found": commands.search(request, text), "text": text.strip()}
        return TemplateResponse(request, "console/command_results.html", context)

    def _bound(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        def bound(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.get_all_permissions():
                raise PermissionDenied
            return view(request, *args, site=self, **kwargs)

        return bound

    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
        request.current_app = self.name
        return TemplateResponse(request, template, {**self.each_context(request), "title": title, **context})
