from django.apps import AppConfig


class PlatformConfig(AppConfig):
    """The app that wires the others together: management commands and system checks that span several apps."""

    name = "sandbox_platform"
    verbose_name = "Sandbox Platform"

    def ready(self) -> None:
        from sandbox_platform import checks  # noqa: F401
