from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "usage"
    verbose_name = "Usage"

    def ready(self) -> None:
        from clients import sources as clients
        from sandbox_platform.kit.web import refusals as web
        from usage import pages, refusals

        clients.usage_card.register(pages.card)
        web.refused.register(refusals.server_was_busy)
