from typing import Any

from django.apps import AppConfig


class BuildsConfig(AppConfig):
    name = "builds"
    verbose_name = "Builds"

    def ready(self) -> None:
        from builds import services  # noqa: F401 -- declares its tasks
        from builds.models import RuntimeBuild
        from runtimes import sources
        from runtimes.signals import build_dropped

        def demote_live(runtime: Any, **_: Any) -> None:
            RuntimeBuild.objects.demote_live(runtime)

        build_dropped.connect(demote_live, weak=False, dispatch_uid="builds.demote_live")
        sources.live_build.register(RuntimeBuild.objects.live_of)
