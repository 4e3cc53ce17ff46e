from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class ConsoleConfig(AppConfig):
    """The web UI beyond the pages of single tables: dashboard, playground, pool, doctor, roles and styling."""

    name = "console"
    verbose_name = "Console"
    default = True

    def ready(self) -> None:
        from console import announcements, checks, devices, doctor, first_steps, schedule  # noqa: F401
        from sandbox_platform.kit import jobs

        jobs.record.register(schedule.record)


class AdminConfig(SimpleAdminConfig):
    """The admin without its pages, which the URLs load: half of a process's start, and only the web shows them."""

    default_site = "console.site.ConsoleSite"
    default = False
