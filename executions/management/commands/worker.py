import os
import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand
from django_q.cluster import Cluster


class Command(BaseCommand):
    help = "Run executions: django-q2's cluster, which ends as a whole when a vital part of it dies."

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = Cluster()
        cluster.start()
        sentinel = cluster.sentinel
        while sentinel.is_alive():
            sentinel.join(1)
        # stop() forgets the event when the end was asked for. Otherwise nobody is left to replace workers:
        # end, so that whoever supervises us starts a whole cluster, and leave no worker behind.
        if cluster.stop_event is not None:
            self.stderr.write("The cluster's sentinel died.")
            if os.getpgrp() == os.getpid():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.killpg(0, signal.SIGKILL)
            sys.exit(1)
