from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit import jobs
from audit.models import SealingFailure


class Command(BaseCommand):
    help = (
        "Do the hourly job of history if it is due: seal, then purge what no retention policy keeps. For a process "
        "beside the keepers that alone has the key of seals."
    )

    def handle(self, **options: Any) -> None:
        if not settings.SANDBOX_SEAL_KEY_FILE:
            raise CommandError("SANDBOX_SEAL_KEY_FILE is not set: name the file of the key that signs seals.")
        jobs.run_due()
        if failure := SealingFailure.objects.filter(node=settings.SANDBOX_NODE).first():
            raise CommandError(f"Nothing is sealed: {failure.reason}")
