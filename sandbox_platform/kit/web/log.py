"""gunicorn's own lines in the form of all others. It sets its log up before Django does."""

from typing import Any

from gunicorn.glogging import Logger

from sandbox_platform.kit.logs import formatter_of


class Log(Logger):  # type: ignore[misc]
    def setup(self, cfg: Any) -> None:
        from django.conf import settings

        super().setup(cfg)
        formatter = formatter_of(settings.LOGGING["formatters"]["chosen"])
        for handler in self.error_log.handlers:
            handler.setFormatter(formatter)
