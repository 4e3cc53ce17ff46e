import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django_q.conf import Conf

from builds import services
from builds.engine import get_build_engine
from sandbox_platform.kit import cluster
from sandbox_platform.kit.service import ServiceCommand
from sandboxes.engine import EngineError


class Command(ServiceCommand):
    help = "Make builds with buildah, in a django-q2 cluster of its own without Docker. Runs until stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.SANDBOX_BUILDER != "buildah":
            raise CommandError("Workers make builds here. Set SANDBOX_BUILDER=buildah for a builder of its own.")
        if why := services.why_unavailable():
            raise CommandError(f"{why} {services.AVAILABLE_WITH}")
        if Conf.CLUSTER_NAME != settings.BUILD_CLUSTER:
            # django-q2 reads its cluster's name from the environment, only once.
            os.environ["Q_CLUSTER_NAME"] = settings.BUILD_CLUSTER
            os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
        try:
            # What a builder that was killed has left.
            get_build_engine().tidy()
        except EngineError as e:
            raise CommandError(f"The builder does not work: {e}") from e
        cluster.run()
