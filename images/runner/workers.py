"""Starts the unprivileged process that becomes the program. See docs/runner-protocol.md."""

import _signal
import fcntl
import os
import stat

from frames import read_available
from light import dumps, loads

UID = GID = 65534
WORKSPACE = "/workspace"
WORKER_FILE = "/opt/sandbox/worker.json"
UNIVERSAL = {"command": ["/usr/bin/python3", "-I", "-S", "-B", "/opt/sandbox/universal.py"]}


class as_program:  # noqa: N801 - used like a function
    """Act on files as the program's user: root without DAC_OVERRIDE cannot open that user's private files."""

    def __enter__(self):
        os.setegid(GID)
        os.seteuid(UID)

    def __exit__(self, *_):
        os.seteuid(0)
        os.setegid(0)


def native_worker():
    with open(WORKER_FILE) as file:
        return loads(file.read())


def read_own(path, limit):
    """Return a file of the program's user, cut at `limit` bytes, and its size; b"" and None if there is none."""
    with as_program():
        try:
            # O_NONBLOCK: opening a FIFO must not block.
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return b"", None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return b"", None
        content = b""
        while part := os.read(fd, min(info.st_size, limit) - len(content)):
            content += part
        return content, info.st_size
    finally:
        os.close(fd)


class Worker:
    """The unprivileged process that becomes the program, and the runner's ends of its pipes."""

    def __init__(self, command, environment):
        # Pipes that belong to the program's user let the program open /dev/stdin and the like. It can also open the
        # runner's ends in /proc/1/fd, but only those of these three pipes, which carry only its own data.
        with as_program():
            stdin, self.stdin = os.pipe()
            self.stdout, stdout = os.pipe()
            self.stderr, stderr = os.pipe()
        job, self.job = os.pipe()
        self.status, status = os.pipe()
        theirs = (stdin, stdout, stderr, job, status)
        self.ours = (self.stdin, self.stdout, self.stderr, self.job, self.status)
        self.pid = spawn(command, theirs, environment)
        for fd in theirs:
            os.close(fd)
        for fd in self.ours:
            os.set_blocking(fd, False)

    def is_ready(self):
        """Return None while the worker loads its modules, then whether it succeeded."""
        data = read_available(self.status)
        return None if data is None else data == b"+"

    def discard(self):
        os.kill(self.pid, _signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for fd in self.ours:
            os.close(fd)


def spawn(command, pipes, environment):
    """Start the command as the program's user, with the pipes as descriptors 0 to 4. Return its pid.

    posix_spawn, because a fork copies the runner's memory map, which costs gVisor more than an interpreter's start.
    """
    # First above 4: a pipe may have the number that another one is to get.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in pipes]
    # posix_spawn can set the effective ids to the real ones, and nothing else. The program does not run yet, so it
    # cannot use that it may signal a process whose real id is its own.
    os.setresgid(GID, 0, 0)
    os.setresuid(UID, 0, 0)
    try:
        return os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(high)],
            resetids=True,
            setsid=True,
            setsigmask=[],
            # The runner ignores these, as every Python does, and an ignored signal stays ignored.
            setsigdef=[_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD],
        )
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        for fd in high:
            os.close(fd)


class Workers:
    """Starts the workers of one sandbox."""

    def __init__(self, config):
        commands = config.get("commands")
        self.kind = UNIVERSAL if commands else native_worker()
        self.environment = dict(os.environ)
        if commands:
            self.environment["SANDBOX_COMMANDS"] = dumps(commands)

    def start(self, preload):
        return self._start(preload, {}, self.kind.get("source", ""))

    def start_for(self, job):
        if "placeholder" in self.kind:
            with as_program():
                os.unlink(self.kind["source"])
        return self._start([], job["environment"], job["source_file"])

    def _start(self, preload, environment, source):
        if "placeholder" in self.kind:
            self._place(source)
        command = [word.replace("{source}", source) for word in self.kind["command"]]
        environment = {**self.environment, **environment, "SANDBOX_PRELOAD": dumps(preload)}
        if folder := self.kind.get("folder"):
            os.chdir(folder)
        try:
            return Worker(command, environment)
        finally:
            if folder:
                with as_program():
                    os.chdir(WORKSPACE)

    def _place(self, source):
        """Create the source file, for an interpreter that opens it before the worker can wait for the program."""
        with open(self.kind["placeholder"], "rb") as file, as_program():
            if folder := os.path.dirname(source):
                os.makedirs(folder, exist_ok=True)
            with open(source, "wb") as target:
                target.write(file.read())

    def started_too_early(self, job):
        """Whether the job has what the waiting interpreter should have had when it started."""
        first = tuple(self.kind.get("read_at_start", ()))
        return self.kind.get("source") not in (None, job["source_file"]) or any(
            name.startswith(first) for name in job["environment"]
        )
