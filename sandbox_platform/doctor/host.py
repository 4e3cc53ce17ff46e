import shutil
from pathlib import Path

from django.conf import settings

from sandbox_platform.doctor.check import Check, broken, ok, warning
from sandbox_platform.kit.units import format_bytes
from sandboxes.docker_engine import get_engine
from sandboxes.sources.source import DOCKER

GIB = 1024**3
LOW = 5 * GIB
EMPTY = GIB // 2


def disk(name: str) -> Check:
    if settings.SANDBOX_IMAGE_SOURCE != DOCKER:
        return _space(
            name, settings.SANDBOX_IMAGE_DIR, "for unpacked images", "free space, or lower SANDBOX_IMAGE_DISK"
        )
    fix = "free space: `docker system df`, `docker image prune`"
    return _space(name, _docker_root(), "in Docker's data directory", fix)


def _space(name: str, folder: Path, what: str, fix: str) -> Check:
    free = shutil.disk_usage(folder).free
    detail = f"{format_bytes(free)} free {what}"
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
