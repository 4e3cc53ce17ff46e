"""Records what only a node's own keeper sees of the node, for alerts."""

import shutil
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from sandboxes.engine import Engine, EngineError
from sandboxes.models import Node

EVERY = timedelta(minutes=1)
# A node that has been silent for this long was taken away.
FORGOTTEN = timedelta(days=7)


def record(engine: Engine) -> None:
    """Write this node's row, and remove those of nodes that were taken away."""
    now = timezone.now()
    try:
        version = engine.version()
    except EngineError:
        version = ""
    usages = [shutil.disk_usage(path) for path in _folders()]
    fullest = min(usages, key=lambda usage: usage.free)
    Node.objects.update_or_create(
        name=settings.SANDBOX_NODE,
        defaults={
            "seen_at": now,
            "disk_free_bytes": fullest.free,
            "disk_total_bytes": fullest.total,
            "gvisor_version": version[:100],
        },
    )
    Node.objects.filter(seen_at__lt=now - FORGOTTEN).delete()


def _folders() -> list[Path]:
    # A container's own root lies on the file system of Docker's data, where the stack's volumes are, too.
    folders = [Path("/"), Path("/var/lib/docker"), settings.SANDBOX_IMAGE_DIR]
    return [folder for folder in folders if folder.exists()]
