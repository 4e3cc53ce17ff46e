"""The services of the platform. Each has a role of its own in Postgres (sandbox_platform/database)."""

from enum import StrEnum

from django.conf import settings


class Service(StrEnum):
    WEB = "web"
    WORKER = "worker"
    KEEPER = "keeper"
    CALLBACKS = "callbacks"
    EGRESS = "egress"
    BUILDER = "builder"

    @property
    def role(self) -> str:
        """The name of the service's role. Roles belong to the whole cluster, so installations may need a prefix."""
        return f"{settings.SANDBOX_DATABASE_ROLE_PREFIX}_{self.value}"
