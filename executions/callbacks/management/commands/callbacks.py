import os
import sys
from typing import Any

from django.conf import settings
from django_q.conf import Conf

from sandbox_platform.kit import cluster, jobs
from sandbox_platform.kit.service import ServiceCommand
from sandbox_platform.kit.services import Service


class Command(ServiceCommand):
    help = "Deliver callbacks, in a django-q2 cluster of its own without access to Docker. Runs until stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        if Conf.CLUSTER_NAME != settings.CALLBACK_CLUSTER:
            # django-q2 reads its cluster's name from the environment, only once.
            os.environ["Q_CLUSTER_NAME"] = settings.CALLBACK_CLUSTER
            os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
        cluster.run(jobs=jobs.of(Service.CALLBACKS))
