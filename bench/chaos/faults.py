"""The faults, each of which mends itself after some seconds: nobody repairs anything."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from bench.chaos.parts import PARTS, PROXY, Chaotic

LASTS_S = 8.0
AHEAD_S = 3600
MIB = 1 << 20


@dataclass(frozen=True)
class Fault:
    part: str
    what: str
    happens: Callable[[Chaotic], None]

    @property
    def name(self) -> str:
        return f"{self.part} {self.what}"


def killed(*parts: str) -> Callable[[Chaotic], None]:
    def happens(platform: Chaotic) -> None:
        for part in parts:
            platform.signal(part, signal.SIGKILL)

    return happens


def stopped(*parts: str) -> Callable[[Chaotic], None]:
    """Stop the processes and let them continue: what they believe of the time meanwhile is wrong."""

    def happens(platform: Chaotic) -> None:
        for part in parts:
            platform.signal(part, signal.SIGSTOP)
        time.sleep(LASTS_S)
        for part in parts:
            platform.signal(part, signal.SIGCONT)

    return happens


def cut_off(*parts: str) -> Callable[[Chaotic], None]:
    """Cut the network between the parts and Postgres, and between the proxy and its gateway."""

    def happens(platform: Chaotic) -> None:
        relays = [relay for part in parts for relay in platform.relays(part)]
        for relay in relays:
            relay.cut()
        time.sleep(LASTS_S)
        for relay in relays:
            relay.mend()

    return happens


def disk_full(folder: Callable[[Chaotic], str]) -> Callable[[Chaotic], None]:
    def happens(platform: Chaotic) -> None:
        ballast = os.path.join(folder(platform), "ballast")
        with open(ballast, "wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * MIB):
                pass
        time.sleep(LASTS_S)
        os.unlink(ballast)

    return happens


def clock_jumps(seconds: int) -> Callable[[Chaotic], None]:
    """Set the clock of all parts but Postgres, and set it right again."""

    def happens(platform: Chaotic) -> None:
        platform.set_clock(seconds)
        time.sleep(LASTS_S)
        platform.set_clock(0)

    return happens


CUT_OFF = (*PARTS, PROXY)
EVERYTHING = (*CUT_OFF, "postgres", "sandboxes")
FAULTS = (
    *(Fault(part, "killed", killed(part)) for part in EVERYTHING),
    *(Fault(part, "stopped", stopped(part)) for part in EVERYTHING),
    *(Fault(part, "cut off", cut_off(part)) for part in CUT_OFF),
    Fault("postgres", "disk full", disk_full(lambda platform: str(platform.state_folder))),
    Fault("sandboxes", "disk full", disk_full(lambda platform: str(platform.run_folder))),
    Fault("clock", "an hour ahead", clock_jumps(AHEAD_S)),
    Fault("clock", "an hour behind", clock_jumps(-AHEAD_S)),
    Fault("everything", "killed", killed(*EVERYTHING)),
    Fault("everything", "stopped", stopped(*EVERYTHING)),
    Fault("everything", "cut off", cut_off(*CUT_OFF)),
)
# Docker's engine has parts of its own; those of the platform are the same with both engines.
OF_DOCKER = ("dockerd", "containerd", "sandboxes")
DOCKER_FAULTS = (
    *(Fault(part, "killed", killed(part)) for part in OF_DOCKER),
    *(Fault(part, "stopped", stopped(part)) for part in OF_DOCKER),
    Fault("docker and worker", "killed", killed(*OF_DOCKER, "worker")),
)
