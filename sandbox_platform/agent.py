"""A node in one container: starts its worker and its keeper.

One container, because its sandboxes are in a cgroup below its own. They outlive a worker or keeper that dies, and the
kernel ends them with the container.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger(__name__)

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
# In the order in which they stop: a worker's last runs may still need the keeper.
COMMANDS = {service: [sys.executable, str(MANAGE), service] for service in ("worker", "keeper")}
AGAIN_S = 1.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Agent:
    """Starts each service, starts one again that ends, and reaps what sandboxes leave: it is the first process."""

    def __init__(self, commands: Mapping[str, list[str]] = COMMANDS) -> None:
        self._commands = commands
        self._pids: dict[str, int] = {}
        self._stopping = False

    def run(self) -> None:
        """Run until a signal asks for the end and all services have ended."""
        for number in SIGNALS:
            signal.signal(number, lambda *_: self._stop())
        while self._pids or not self._stopping:
            for service in self._commands.keys() - self._pids.keys():
                self._start(service)
            if self._pids:
                self._wait()

    def _start(self, service: str) -> None:
        environment = os.environ | {"SANDBOX_SERVICE": service}
        # A signal between the look and the start would not reach what starts.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            if not self._stopping:
                command = self._commands[service]
                self._pids[service] = os.posix_spawn(command[0], command, environment, setsigmask=[])
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _wait(self) -> None:
        """Wait until any process ends: a service, or one whose parent has ended before."""
        pid, status = os.waitpid(-1, 0)
        ended = next((service for service, one in self._pids.items() if one == pid), "")
        if not ended:
            return
        del self._pids[ended]
        if self._stopping:
            self._end_next()
        else:
            logger.error("%s ended with status %s: it is started again", ended, os.waitstatus_to_exitcode(status))
            time.sleep(AGAIN_S)

    def _stop(self) -> None:
        self._stopping = True
        self._end_next()

    def _end_next(self) -> None:
        if left := [service for service in self._commands if service in self._pids]:
            os.kill(self._pids[left[0]], signal.SIGTERM)
