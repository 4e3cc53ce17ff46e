"""The guest: QEMU with a serial console in a file, and ssh over user networking."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from scripts.host_test import accelerator
from scripts.host_test.disk import CLONE
from scripts.setup.host import redact

POLL_S = 5.0
# A connection that QEMU accepts, and that nobody in the guest answers yet.
CONNECT_S = 60
TRANSPORT_FAILED = 255


@dataclass(frozen=True)
class Done:
    status: int
    output: str


@dataclass
class Guest:
    folder: Path
    accelerator: str
    memory_mib: int
    cpus: int
    port: int = field(default_factory=lambda: free_port())
    process: subprocess.Popen[bytes] | None = None

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    def command(self) -> list[str]:
        return [
            *accelerator.words(self.accelerator, self.folder / "vmlinuz", self.memory_mib, self.cpus),
            "-initrd", str(self.folder / "initrd.img"),
            "-append", "root=/dev/vda rw console=ttyS0 panic=-1",
            "-drive", f"file={self.folder / 'disk.raw'},format=raw,if=virtio,cache=unsafe,discard=unmap",
            "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
            "-serial", f"file:{self.console}",
        ]  # fmt: skip

    def __enter__(self) -> Guest:
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def run(self, command: str, limit_s: float) -> Done:
        """Run a shell command in the guest's clone. Status 124: not finished within the limit."""
        line = [
            "ssh", "-F", "none", "-i", str(self.folder / "key"), "-p", str(self.port), "-l", "root",
            "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", "-o", f"ConnectTimeout={CONNECT_S}", "127.0.0.1",
            f"cd {CLONE} && {{ {command}; }} 2>&1",
        ]  # fmt: skip
        # Into a file, so that an interrupted step leaves what it wrote.
        log = self.folder / "step.log"
        with log.open("wb") as output:
            try:
                done = subprocess.run(
                    line, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=limit_s, check=False
                )
                status = done.returncode
            except subprocess.TimeoutExpired:
                status = 124
        return Done(status, self.written())

    def written(self) -> str:
        """Return what the newest step has written."""
        log = self.folder / "step.log"
        return redact(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else ""

    def boot_id(self, limit_s: float) -> str:
        """Wait until ssh answers, and return the kernel's id of this boot. "" if it does not within the limit."""
        end = time.monotonic() + limit_s
        while self.is_running and (left := end - time.monotonic()) > 0:
            done = self.run("cat /proc/sys/kernel/random/boot_id", min(left, 3 * CONNECT_S))
            if done.status == 0:
                return done.output.strip()
            time.sleep(POLL_S)
        return ""

    def last_of_console(self, lines: int = 15) -> str:
        if not self.console.exists():
            return ""
        return "\n".join(self.console.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
