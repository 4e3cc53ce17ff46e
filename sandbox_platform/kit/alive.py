"""`python3 -m sandbox_platform.kit.alive SERVICE`: exit with 0 if the service holds its lock of liveness in Postgres.

For Docker's health checks. It loads the settings and no app, which takes a tenth of the time of manage.py.
"""

import os
import sys
import warnings


def is_alive(service: str) -> bool:
    """Return whether a worker or keeper of this node, or a callbacks service, is alive. Raises ValueError."""
    from django.conf import settings

    from sandbox_platform.kit import liveness

    node = settings.SANDBOX_NODE
    match service:
        case "worker":
            return liveness.workers_alive(node) > 0
        case "keeper":
            return liveness.keeper_alive(node)
        case "callbacks":
            return liveness.callbacks_alive() > 0
        case _:
            raise ValueError(service)


if __name__ == "__main__":
    # Without the apps, on purpose.
    warnings.filterwarnings("ignore", message="Accessing the database during app initialization")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
    sys.exit(0 if is_alive(sys.argv[1]) else f"no {sys.argv[1]} holds its lock in Postgres")
