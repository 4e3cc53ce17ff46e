"""Install what the platform needs on this machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from scripts.setup import direct, docker, gvisor, registration


def provide(*others: Callable[[], object]) -> None:
    """Install Docker, then gVisor beside the other steps: where it must be built, that takes minutes."""
    docker.ensure()
    direct.ensure_tools()
    with ThreadPoolExecutor(max_workers=1) as pool:
        runsc = pool.submit(gvisor.ensure)
        for other in others:
            other()
    registration.ensure_registered(runsc.result())
