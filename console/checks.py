from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning, register

from console import about


@register
def browser_files_are_built(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if about.BROWSER_PACKAGES.is_file():
        return []
    return [
        Warning(
            "The browser files of the admin have not been built from their npm packages: the pages stay blank.",
            hint="Run `make frontend`.",
            id="console.W001",
        )
    ]
