from collections.abc import Callable
from typing import Any

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
    ("about/", "about", "console.about.page"),
    ("searches/", "searches", "executions.admin.searches.change"),
)


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """The admin site: the pages of the tables, and those in PAGES."""

    index_title = "Dashboard"
    enable_nav_sidebar = True

    def extra_urls(self) -> list[URLPattern]:
        return [
            path(address, self.admin_view(self._bound(import_string(view))), name=name)
            for address, name, view in PAGES
        ]

    def _bound(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        def bound(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            return view(request, *args, site=self, **kwargs)

        return bound

    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
        request.current_app = self.name
        return TemplateResponse(request, template, {**self.each_context(request), "title": title, **context})
