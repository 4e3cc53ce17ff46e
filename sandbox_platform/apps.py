from django.apps import AppConfig


class PlatformConfig(AppConfig):
    """The wiring: management commands and system checks that look at every room."""

    name = "sandbox_platform"
    verbose_name = "Sandbox Platform"

    def ready(self) -> None:
        from sandbox_platform import checks  # noqa: F401
