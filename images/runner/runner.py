"""The runner, PID 1 of every sandbox: see docs/runner-protocol.md.

Standard library only, and few modules of it: each import adds to the sandbox's start-up time.
"""

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import sys
import time

PROTOCOL = 1
UID = GID = 65534
WORKSPACE = "/workspace"
WORKER_FILE = "/opt/sandbox/worker.json"
UNIVERSAL = "/opt/sandbox/universal.py"
LIBRARY = "/opt/sandbox"
CARRIER = "/opt/sandbox/carrier.py"
CARRIER_UID = 65533  # used by nothing else: the program can neither kill the carrier nor use up its nproc limit
IDLE_BEFORE_PRELOAD_S = 0.5
LINGER_S = 1.0
CHUNK = 65536
LAST_CHUNKS = 32  # the program can enlarge a pipe to 1 MiB


class HostGone(Exception):
    """The platform closed the runner's stdin: nobody waits for the answer."""


def send(kind, payload):
    write_all(1, kind + len(payload).to_bytes(4, "big") + payload)


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_exactly(fd, size):
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise HostGone
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_available(fd):
    """Read up to CHUNK bytes from a non-blocking descriptor; return None if it holds none, b"" at its end."""
    try:
        return os.read(fd, CHUNK)
    except BlockingIOError:
        return None


class Worker:
    """The unprivileged process that becomes the program, and the runner's ends of its pipes."""

    def __init__(self, command, preload, commands=None):
        if commands:
            # Pipes that belong to the program's user let the program open /dev/stdin and the like, which some
            # languages need. The program can also open the runner's ends in /proc/1/fd, but only those of these
            # three pipes, which carry only its own data.
            os.seteuid(UID)
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        os.seteuid(0)
        job, self.job = os.pipe()
        self.status, status = os.pipe()
        theirs = (stdin, stdout, stderr, job, status)
        self.ours = (self.stdin, self.stdout, self.stderr, self.job, self.status)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                become_worker(theirs, command, preload, commands)
            except BaseException:
                sys.__excepthook__(*sys.exc_info())
            finally:
                os._exit(70)
        for fd in theirs:
            os.close(fd)
        for fd in self.ours:
            os.set_blocking(fd, False)

    def is_ready(self):
        """Return None while the worker loads its modules, then whether it succeeded."""
        data = read_available(self.status)
        return None if data is None else data == b"+"

    def discard(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for fd in self.ours:
            os.close(fd)


def become_worker(pipes, command, preload, commands):
    # Replace descriptors 0 and 1, which carry frames: the program must never hold them.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in pipes]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=target < 3 or not command[0].endswith(".py"))
    os.closerange(5, 256)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.setgroups([])
    os.setgid(GID)
    os.setuid(UID)
    os.chdir(WORKSPACE)
    # The folder exists already, or the seccomp profile forbids mkdir; then the program leaves no artifacts.
    with contextlib.suppress(FileExistsError, PermissionError):
        os.mkdir("artifacts")
    os.environ.setdefault("HOME", WORKSPACE)
    os.environ["SANDBOX_PRELOAD"] = json.dumps(preload)
    if commands:
        os.environ["SANDBOX_COMMANDS"] = json.dumps(commands)
    if not command[0].endswith(".py"):
        os.execvp(command[0], command)  # noqa: S606
    with open(command[0]) as file:
        code = compile(file.read(), command[0], "exec")
    exec(code, {"__name__": "__main__", "__builtins__": __builtins__})


def start_carrier():
    """Fork the carrier, which relays the program's requests to the sandbox's door; see carrier.py.

    The carrier's death does not end the run.
    """
    if os.fork():
        return
    try:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.closerange(3, 256)
        os.setsid()
        os.setgroups([])
        os.setgid(CARRIER_UID)
        os.setuid(CARRIER_UID)
        os.chdir("/")
        with open(CARRIER) as file:
            code = compile(file.read(), CARRIER, "exec")
        exec(code, {"__name__": "__main__", "__builtins__": __builtins__})
    finally:
        os._exit(70)


def wait_until_ready(worker):
    poll = select.poll()
    poll.register(worker.status, select.POLLIN)
    poll.register(0, 0)  # only hang-up
    while (ready := worker.is_ready()) is None:
        if any(fd == 0 for fd, _ in poll.poll()):
            raise HostGone
    if not ready:
        output = (read_available(worker.stderr) or b"").decode(errors="replace")
        sys.exit(f"the worker did not start: {output}")


def wait_for_job(worker, command, config):
    """Block until the job arrives; return the worker that gets it and the job's bytes."""
    spare = None
    # Only native workers preload.
    wanted = [] if config.get("commands") else config["preload_when_idle"]
    poll = select.poll()
    poll.register(0, select.POLLIN)
    while True:
        events = poll.poll(IDLE_BEFORE_PRELOAD_S * 1000 if wanted and not spare else None)
        if any(fd == 0 for fd, _ in events):
            break
        if not events:
            spare = Worker(command, config["preload"] + wanted)
            poll.register(spare.status, select.POLLIN)
        elif (ready := spare.is_ready()) is not None:
            poll.unregister(spare.status)
            loser = worker if ready else spare
            worker, spare, wanted = (spare if ready else worker), None, None
            loser.discard()
    header = read_exactly(0, 5)
    if header[:1] != b"J":
        sys.exit(f"unexpected frame {header[:1]!r}")
    job = read_exactly(0, int.from_bytes(header[1:], "big"))
    if spare:
        spare.discard()
    return worker, job


class Run:
    """One job in one worker, from sending the job to the worker's end."""

    def __init__(self, worker, job, wake, compiles):
        self.worker = worker
        self.compiles = compiles
        self.wake = wake
        self.limits = json.loads(job)
        self.outgoing = {
            worker.job: memoryview(len(job).to_bytes(4, "big") + job),
            worker.stdin: memoryview(self.limits["stdin"].encode("utf-8", "surrogatepass")),
        }
        self.kinds = {worker.stdout: b"O", worker.stderr: b"E"}
        self.written = {worker.stdout: 0, worker.stderr: 0}
        self.status = bytearray()
        self.result_size = None
        self.linger_until = None
        self.wait_status = None
        self.done = False

    def until_end(self):
        poll = select.poll()
        poll.register(0, 0)
        poll.register(self.wake, select.POLLIN)
        for fd in (self.worker.stdout, self.worker.stderr, self.worker.status):
            poll.register(fd, select.POLLIN)
        for fd in self.outgoing:
            poll.register(fd, select.POLLOUT)
        while self.wait_status is None and not self.done:
            for fd, _event in poll.poll(self.patience_ms()):
                if fd == 0:
                    raise HostGone
                if fd == self.wake:
                    read_available(fd)
                    self.reap()
                elif not (self.feed(fd) if fd in self.outgoing else self.drain(fd)):
                    poll.unregister(fd)
            if self.linger_until and time.monotonic() >= self.linger_until:
                break
        for fd in (self.worker.stdout, self.worker.stderr, self.worker.status):
            # Read what the pipes held at the end, and no more: the program's children may write forever.
            for _ in range(LAST_CHUNKS):
                if not self.drain(fd):
                    break

    def patience_ms(self):
        return self.linger_until and max(0, self.linger_until - time.monotonic()) * 1000

    def feed(self, fd):
        """Write pending data to the pipe; return False when all is written and the pipe is closed."""
        try:
            self.outgoing[fd] = self.outgoing[fd][os.write(fd, self.outgoing[fd]) :] if self.outgoing[fd] else b""
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self.outgoing[fd] = b""
        if self.outgoing[fd]:
            return True
        del self.outgoing[fd]
        os.close(fd)
        return False

    def drain(self, fd):
        """Handle up to CHUNK bytes from the worker; return a false value if the pipe is empty or at its end."""
        data = read_available(fd)
        if data and fd == self.worker.status:
            self.take_status(data)
        elif data:
            self.take_output(fd, data)
        return data

    def take_output(self, fd, data):
        # One byte over the limit tells the host that output was cut.
        room = self.limits["output_bytes"] + 1 - self.written[fd]
        self.written[fd] += len(data)
        if room > 0:
            send(self.kinds[fd], data[:room])
        if room < len(data) and self.limits["output_action"] == "kill":
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.worker.pid, signal.SIGKILL)

    def take_status(self, data):
        if self.compiles:
            # Only the first report counts: later ones could come from the program.
            self.compiles = False
            send(b"C", json.dumps({"exit_code": data[1]}).encode())
            data = data[2:]
        if self.result_size is not None or self.limits["mode"] == "script":
            self.done = data[-1:] == b"D"
            return
        self.status += data
        if len(self.status) >= 5 and self.status[:1] == b"R":
            size = int.from_bytes(self.status[1:5], "big")
            if size > self.limits["result_bytes"]:
                self.result_size = size
            elif len(self.status) >= 5 + size:
                self.result_size = size
                send(b"R", bytes(self.status[5 : 5 + size]))
                self.done = self.status[5 + size :] == b"D"
                self.linger_until = time.monotonic() + LINGER_S

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.worker.pid:
                self.wait_status = status

    def end(self):
        code = 0 if self.wait_status is None else os.waitstatus_to_exitcode(self.wait_status)
        return {
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "stdout_bytes": self.written[self.worker.stdout],
            "stderr_bytes": self.written[self.worker.stderr],
            "result_bytes": self.result_size,
            "lingered": self.wait_status is None and not self.done,
        }


def kill_everything():
    """Kill every process but this one, so that no artifact changes while it is read."""
    while True:
        # A process that is just being forked may escape one round, so repeat until none is left.
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def send_artifacts(limits):
    # Read as the program's user: root without DAC_OVERRIDE cannot open the program's folder and its 0600 files.
    os.setegid(GID)
    os.seteuid(UID)
    path = f"{WORKSPACE}/artifacts"
    # Tearing down an interpreter takes longer than most runs. Without artifacts, leave the processes to the
    # sandbox's removal, which happens after the answer.
    with contextlib.suppress(OSError):
        if not os.listdir(path):
            return
    os.seteuid(0)
    kill_everything()
    os.seteuid(UID)
    sys.path.append(LIBRARY)  # `python3 -I` starts without the script's folder
    import artifacts

    for name, content in artifacts.collect(path, limits):
        encoded = name.encode("utf-8")
        send(b"A", len(encoded).to_bytes(2, "big") + encoded + content)


def wait_for_leave_to_go():
    """Block until the platform has read the sandbox's usage, which is lost when the runner exits.

    The platform then sends one byte or closes stdin.
    """
    os.read(0, 1)


def native_worker():
    with open(WORKER_FILE) as file:
        return json.load(file)["command"]


def main():
    config = json.loads(sys.argv[-1])
    commands = config.get("commands")
    command = [UNIVERSAL] if commands else native_worker()
    wake, wake_end = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if config.get("egress"):
        start_carrier()
    worker = Worker(command, config["preload"], commands)
    wait_until_ready(worker)
    send(b"H", json.dumps({"protocol": PROTOCOL}).encode())
    worker, job = wait_for_job(worker, command, config)
    signal.set_wakeup_fd(wake_end)
    run = Run(worker, job, wake, compiles=bool(commands and commands["compile"]))
    run.until_end()
    send_artifacts(run.limits)
    send(b"X", json.dumps(run.end()).encode())
    wait_for_leave_to_go()


if __name__ == "__main__":
    try:
        main()
    except HostGone:
        pass
    except OSError as e:
        if e.errno != errno.EPIPE:
            raise
