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
    detail = f"{format_bytes(free)} free where Docker keeps images, containers and volumes"
    fix = "make room: `docker system df`, `docker image prune`"
    if free < EMPTY:
        return broken(name, detail, fix)
    return warning(name, detail, fix) if free < LOW else ok(name, detail)


def _docker_root() -> Path:
    # A container's own root lies on the file system of Docker's folder, which it cannot see itself.
    root = Path(str(get_engine().info()["DockerRootDir"]))
    return Path("/") if Path("/.dockerenv").exists() or not root.exists() else root


def access(name: str) -> Check:
    if settings.RAGFLOW_ALLOW_UNAUTHENTICATED:
        return warning(
            name,
            "POST /run takes programs from anybody, without a token",
            "unset SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED and run `make restart`",
        )
    return ok(name, "a token is asked of every caller")


def debug(name: str) -> Check:
    if settings.DEBUG:
        return warning(name, "on: errors show settings and source to visitors", "unset DJANGO_DEBUG")
    return ok(name, "off")
