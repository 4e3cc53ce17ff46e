import shutil
from pathlib import Path

from django.conf import settings

from sandbox_platform.doctor.check import Check, broken, ok, warning
from sandbox_platform.kit.units import format_bytes
from sandboxes.docker_engine import get_engine

GIB = 1024**3
LOW = 5 * GIB
EMPTY = GIB // 2


def disk(name: str) -> Check:
    free = shutil.disk_usage(_docker_root()).free
    detail = f"{format_bytes(free)} free in Docker's data directory"
    fix = "free space: `docker system df`, `docker image prune`"
    if free < EMPTY:
        return broken(name, detail, fix)
    return warning(name, detail, fix) if free < LOW else ok(name, detail)


def _docker_root() -> Path:
    # A container cannot see Docker's data directory, but its own root lies on the same file system.
    root = Path(str(get_engine().info()["DockerRootDir"]))
    return Path("/") if Path("/.dockerenv").exists() or not root.exists() else root


def access(name: str) -> Check:
    if settings.RAGFLOW_ALLOW_UNAUTHENTICATED:
        return warning(
            name,
            "POST /run accepts programs from anybody, without a token",
            "unset SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED and run `make restart`",
        )
    return ok(name, "every caller needs a token")


def debug(name: str) -> Check:
    if settings.DEBUG:
        return warning(name, "on: error pages show settings and source code", "unset DJANGO_DEBUG")
    return ok(name, "off")
