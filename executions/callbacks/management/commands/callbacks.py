import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django_q.conf import Conf

from sandbox_platform.kit import cluster


class Command(BaseCommand):
    help = "Deliver callbacks: a django-q2 cluster of its own, without Docker. Runs until it is told to stop."

    def handle(self, *args: Any, **options: Any) -> None:
        if Conf.CLUSTER_NAME != settings.CALLBACK_CLUSTER:
            # django-q2 reads which cluster it is once, from the environment.
            os.environ["Q_CLUSTER_NAME"] = settings.CALLBACK_CLUSTER
            os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
        cluster.run()
