from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class ConsoleConfig(AppConfig):
    """The web UI beyond the pages of single tables: dashboard, playground, pool, doctor, roles and styling."""

    name = "console"
    verbose_name = "Console"
    default = True

    def ready(self) -> None:
        from console import announcements, checks, devices  # noqa: F401


class AdminConfig(SimpleAdminConfig):
    default_site = "console.site.ConsoleSite"
    default = False

    def ready(self) -> None:
        super().ready()
        self.module.autodiscover()  # type: ignore[union-attr]
