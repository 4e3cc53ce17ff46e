"""Which accelerator QEMU can start a guest with.

Only a kernel tells. /dev/kvm may exist, and run a BIOS, and yet no Linux: where the host's own hypervisor keeps
back what a kernel uses.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.setup.host import SetupError

QEMU = "qemu-system-x86_64"
# The first line of a kernel, with which decompression and the change to 64 bits are done.
STARTED = "Linux version"
PATIENCE_S = {"kvm": 30.0, "tcg": 300.0}
ACCELERATORS = tuple(PATIENCE_S)
POLL_S = 0.2


def words(accelerator: str, kernel: Path, memory_mib: int, cpus: int) -> list[str]:
    """Return QEMU's words for a machine that starts the kernel: the same for the guest and for a probe."""
    model = "host" if accelerator == "kvm" else "max"
    accel = "tcg,thread=multi" if accelerator == "tcg" else accelerator
    return [
        # A killed test takes its guest along.
        "setpriv", "--pdeathsig", "KILL", "--",
        QEMU, "-accel", accel, "-machine", "q35", "-cpu", model, "-smp", str(cpus), "-m", str(memory_mib),
        "-nodefaults", "-no-user-config", "-display", "none", "-kernel", str(kernel),
    ]  # fmt: skip


def problem(accelerator: str, kernel: Path, patience_s: float = 0.0) -> str:
    """Start the kernel, without a disk. Return "" if it says its version, otherwise why not."""
    patience_s = patience_s or PATIENCE_S[accelerator]
    with TemporaryDirectory(prefix="host-test-probe-") as folder:
        console, errors = Path(folder) / "console.log", Path(folder) / "errors"
        append = "console=ttyS0 earlyprintk=serial,ttyS0 panic=-1"
        line = [*words(accelerator, kernel, 512, 1), "-append", append, "-no-reboot", "-serial", f"file:{console}"]
        with errors.open("wb") as output:
            process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            end = time.monotonic() + patience_s
            ended = False
            while not ended and time.monotonic() < end:
                ended = process.poll() is not None  # before the look, because its last words count
                if console.exists() and STARTED in console.read_text(encoding="utf-8", errors="replace"):
                    return ""
                time.sleep(POLL_S)
        finally:
            process.kill()
            process.wait()
        told = why(errors.read_text(encoding="utf-8", errors="replace"))
    return told or ("QEMU ended" if ended else f"no word of the kernel within {patience_s:.0f} s")


def why(errors: str) -> str:
    """Return the line of QEMU's that says what failed. Registers follow some, and warnings precede them."""
    lines = [line.strip() for line in errors.splitlines() if "warning:" not in line]
    return next((line for line in lines if re.search(r"error|failed|failure|invalid|could not", line, re.I)), "")


def choose(wanted: str, kernel: Path) -> tuple[str, str]:
    """Return the accelerator and what is to be told about the choice. Raises SetupError if none works."""
    reasons: list[str] = []
    for accelerator in ACCELERATORS if wanted == "auto" else (wanted,):
        if not (reason := problem(accelerator, kernel)):
            return accelerator, "; ".join(reasons)
        reasons.append(f"{accelerator} starts no guest: {reason}")
    raise SetupError("QEMU's accelerator", "; ".join(reasons), "make host-test ARGS='--accel auto'")


def version() -> str:
    """Return QEMU's version, "" if it is not installed."""
    try:
        done = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.partition("\n")[0].removeprefix("QEMU emulator version ").split(" ")[0]
