from django.apps import AppConfig


class SandboxesConfig(AppConfig):
    name = "sandboxes"
    verbose_name = "Sandboxes"

    def ready(self) -> None:
        from runtimes import sources
        from sandboxes import images

        sources.missing_image.register(images.missing)
