import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from inspections import studies
from inspections.learning import named
from inspections.models import Inspection, InspectionKind, InspectionState
from runtimes.models import Runtime
from sandboxes.engine import EngineError
from sandboxes.engines import get_engine
from seccomp_profiles.shipped import DENIED, PROFILES, STRICT_FILE, STRICT_RUNTIMES


class Command(BaseCommand):
    help = (
        "Learn the shipped profile `strict` again from the pure functions among the smoke programs, and write it to "
        "the source tree. Run this on a machine with Docker after a change of the runner or of an interpreter."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        names: set[str] = set()
        for slug in STRICT_RUNTIMES:
            names |= self._learn(slug)
        # Programs try these calls but work without them: the default and the compute profile deny them too.
        names -= set(" ".join([*DENIED.values(), PROFILES["compute"].deny]).split())
        STRICT_FILE.write_text(json.dumps(sorted(names), indent=1) + "\n", encoding="utf-8")
        self.stdout.write(f"{len(names)} system calls written to {STRICT_FILE}")

    def _learn(self, slug: str) -> set[str]:
        inspection = Inspection.objects.create(
            kind=InspectionKind.LEARN,
            runtime=Runtime.objects.get(slug=slug),
            state=InspectionState.RUNNING,
            started_at=timezone.now(),
            requested_by="learn_strict",
            details={"request": {"pure": True}},
        )
        try:
            _, details = studies.learn(get_engine(), inspection)
        except EngineError as e:
            raise CommandError(f"{slug}: {e}") from e
        finally:
            inspection.delete()
        return named(details["proposal"])
