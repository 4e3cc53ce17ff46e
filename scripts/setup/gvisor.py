"""Provide a current runsc beside the machine's other versions, and remove those that nothing uses any more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sandboxes.gvisor import has_compiled_filters, is_current, version_of
from scripts.setup import gvisor_sources
from scripts.setup.docker import on_path
from scripts.setup.gvisor_sources import Source
from scripts.setup.host import Command, SetupError, detail, must, run, step

# A folder for each version. Docker's shim keeps the path that a container was started with, so running sandboxes
# finish on their version.
FOLDER = Path("/usr/local/lib/sandbox-platform/gvisor")
# A script of earlier versions of the platform, which started runsc with slower timers.
LAUNCHER = Path("/usr/local/lib/sandbox-platform/runsc")
DAEMON_JSON = Path("/etc/docker/daemon.json")
# In this order.
SOURCES: tuple[Source, ...] = (gvisor_sources.from_repository, gvisor_sources.from_module)


def ensure() -> Path:
    """Return the runsc to register: one that is here and current, a new one, or as a last resort an older one."""
    with step("gVisor") as current:
        here = present()
        versions = {path: version_of(path) for path in here}
        wanted = [path for path, version in versions.items() if is_current(version)]
        fast = [path for path in wanted if has_compiled_filters(versions[path])]
        runsc = fast[0] if fast else from_sources()
        if runsc is None and wanted:
            runsc = wanted[0]
        elif runsc is None:
            runsc = here[0] if here else gvisor_sources.from_distribution()
            current.note("no current version can be had: `make doctor` tells what this one is affected by")
        current.note(f"{version_of(runsc)} ({runsc})")
        return runsc


def present() -> list[Path]:
    """Return every runsc of this machine: what Docker starts, what `make` installed (the newest first), PATH's."""
    ours = sorted(FOLDER.glob("*/runsc"), key=lambda path: path.stat().st_mtime, reverse=True)
    found = dict.fromkeys([*registered(read_daemon_json()), *ours, *map(Path, on_path("runsc"))])
    return [path for path in found if path != LAUNCHER and path.exists()]


def registered(config: dict[str, Any]) -> list[Path]:
    paths = [Path(runtime.get("path", "")) for runtime in config.get("runtimes", {}).values()]
    return [path for path in paths if path.name == "runsc"]


def read_daemon_json() -> dict[str, Any]:
    if not DAEMON_JSON.exists():
        return {}
    try:
        return dict(json.loads(DAEMON_JSON.read_text(encoding="utf-8") or "{}"))
    except json.JSONDecodeError as error:
        raise SetupError(
            str(DAEMON_JSON), f"not valid JSON: {error}", f"correct {DAEMON_JSON}, then run `make`"
        ) from error


def from_sources() -> Path | None:
    for source in SOURCES:
        with TemporaryDirectory(prefix="sandbox-platform-gvisor-") as folder:
            try:
                source(Path(folder))
                return install(Path(folder))
            except SetupError as error:
                detail(f"{error.check}: {str(error).splitlines()[1].removeprefix('cause: ')}")
    return None


def install(folder: Path) -> Path:
    """Install a folder that holds runsc under its version. Nothing ever replaces an installed version."""
    version = version_of(folder / "runsc")
    if not is_current(version) or not re.fullmatch(r"[\w.+~-]+", version):
        raise SetupError("runsc", f"version {version or 'unknown'} is not current", "make setup")
    target = FOLDER / version
    new = FOLDER / f".{version}.new"
    fix = f"install runsc {version} as {target}/runsc by hand, then run `make`"
    lines: tuple[Command, ...] = (
        ["rm", "-rf", new, target],
        ["mkdir", "-p", FOLDER],
        ["cp", "-r", folder, new],
        ["chown", "-R", "0:0", new],
        ["chmod", "-R", "u=rwX,go=rX", new],
        ["mv", new, target],
    )
    for line in lines:
        must(line, root=True, check=f"installing runsc {version}", fix=fix)
    return target / "runsc"


def remove_unused() -> list[str]:
    """Remove the versions that Docker no longer starts and that no process runs. Return their names."""
    running = run(["sh", "-c", "readlink /proc/[0-9]*/exe | sort -u"], root=True).stdout.splitlines()
    used = {*registered(read_daemon_json()), *map(Path, running)}
    removed = [path.parent for path in FOLDER.glob("*/runsc") if path not in used]
    # What the launcher started runs another file of this name.
    launched = any(path.name == "runsc" and FOLDER not in path.parents for path in used)
    if LAUNCHER.is_file() and not launched:
        removed.append(LAUNCHER)
    if removed:
        run(["rm", "-rf", *removed], root=True)
    return [path.name for path in removed]
