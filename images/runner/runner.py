"""The runner, PID 1 of every sandbox: see docs/runner-protocol.md.

Standard library only, and few modules of it: each import adds to the sandbox's start-up time.
"""

import _signal  # `signal` would load enum
import errno
import os
import select
import sys
import time

sys.path.append("/opt/sandbox")  # `python3 -I` starts without the script's folder

from frames import CHUNK, HostGone, read_available, read_frame, send
from light import dumps, loads, suppress
from workers import Workers, as_program, read_own

PROTOCOL = 2
WORKSPACE = "/workspace"
CARRIER = "/opt/sandbox/carrier.py"
CARRIER_UID = 65533  # used by nothing else: the program can neither kill the carrier nor use up its nproc limit
# The worker writes the result to a file, because a program may close or write to every descriptor that it finds.
RESULT = "/run/sandbox/result"
# A FIFO in which a worker may write its exit status, one byte, when only its memory is left to be freed.
EXIT = "/run/sandbox/exit"
IDLE_BEFORE_PRELOAD_S = 0.5
# After a small read the runner lets the pipe fill for a moment: a frame for each line costs more than most programs.
SMALL = CHUNK // 2
REST_S = 0.01
FLUSH_S = 0.1  # interval of the flush signals while somebody watches
LAST_CHUNKS = 32  # the program can enlarge a pipe to 1 MiB


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


def open_exit_fifo():
    """Return the runner's end, or None if the seccomp profile forbids FIFOs: then a run ends with its process."""
    with as_program(), suppress(PermissionError):
        os.mkfifo(EXIT, 0o600)
        # Open for writing, too, or the FIFO would be at its end until the worker opens it.
        return os.open(EXIT, os.O_RDWR | os.O_NONBLOCK)


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


def wait_for_job(worker, workers, config):
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
            spare = workers.start(config["preload"] + wanted)
            poll.register(spare.status, select.POLLIN)
        elif (ready := spare.is_ready()) is not None:
            poll.unregister(spare.status)
            loser = worker if ready else spare
            worker, spare, wanted = (spare if ready else worker), None, None
            loser.discard()
    kind, job = read_frame()
    if kind != b"J":
        sys.exit(f"unexpected frame {kind!r}")
    if spare:
        spare.discard()
    return worker, job


class Run:
    """One job in one worker, from sending the job to the worker's end."""

    def __init__(self, worker, job, limits, wake, told, compiles):
        self.worker = worker
        self.compiles = compiles
        self.wake = wake
        self.told = told
        self.limits = limits
        self.outgoing = {
            worker.job: memoryview(len(job).to_bytes(4, "big") + job),
            worker.stdin: memoryview(limits["stdin"].encode("utf-8", "surrogatepass")),
        }
        self.kinds = {worker.stdout: b"O", worker.stderr: b"E"}
        self.written = {worker.stdout: 0, worker.stderr: 0}
        self.resting = {}  # descriptor: when to read it again
        self.next_flush = None
        self.is_over = False
        self.kill_at = None
        self.wait_status = None
        self.told_status = None
        self.poll = select.poll()

    def until_end(self):
        self.poll.register(0, select.POLLIN)
        self.poll.register(self.wake, select.POLLIN)
        if self.told is not None:
            self.poll.register(self.told, select.POLLIN)
        for fd in (self.worker.stdout, self.worker.stderr, self.worker.status):
            self.poll.register(fd, select.POLLIN)
        for fd in self.outgoing:
            self.poll.register(fd, select.POLLOUT)
        while self.wait_status is None and self.told_status is None:
            for fd, _event in self.poll.poll(self.patience_ms()):
                self.handle(fd)
            self.on_time()
        for fd in (self.worker.stdout, self.worker.stderr, self.worker.status):
            # Read what the pipes held at the end, and no more: the program's children may write forever.
            for _ in range(LAST_CHUNKS):
                if not self.drain(fd):
                    break

    def handle(self, fd):
        if fd == 0:
            self.take_frame()
        elif fd == self.wake:
            read_available(fd)
            self.reap()
        elif fd == self.told:
            if data := read_available(fd):  # else the program has read it itself
                self.told_status = data[0]
        elif fd in self.outgoing:
            if not self.feed(fd):
                self.poll.unregister(fd)
        elif not (data := self.drain(fd)):
            if data is not None:
                self.poll.unregister(fd)
        elif len(data) < SMALL and fd in self.kinds:
            self.resting[fd] = time.monotonic() + REST_S
            self.poll.unregister(fd)

    def take_frame(self):
        kind, _ = read_frame()
        if kind == b"W":
            self.next_flush = time.monotonic()
        elif kind == b"T":
            # A last flush: what the program printed until now tells its author most.
            self.is_over = True
            self.next_flush = time.monotonic()
            self.kill_at = self.next_flush + FLUSH_S
        else:
            sys.exit(f"unexpected frame {kind!r}")

    def patience_ms(self):
        times = [*self.resting.values(), *(at for at in (self.next_flush, self.kill_at) if at)]
        return max(0, min(times) - time.monotonic()) * 1000 if times else None

    def on_time(self):
        now = time.monotonic()
        for fd in [fd for fd, until in self.resting.items() if until <= now]:
            del self.resting[fd]
            self.poll.register(fd, select.POLLIN)
        if self.wait_status is not None or self.told_status is not None:
            return
        if self.kill_at and now >= self.kill_at:
            self.kill_at = None
            os.kill(self.worker.pid, _signal.SIGKILL)
        elif self.next_flush and now >= self.next_flush:
            self.next_flush = now + FLUSH_S
            # Ignored by whatever does not handle it, so by a program that the worker has executed, too.
            os.kill(self.worker.pid, _signal.SIGURG)

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
        """Handle up to CHUNK bytes from the worker; return them, None if the pipe is empty, b"" at its end."""
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
            with suppress(ProcessLookupError):
                os.kill(self.worker.pid, _signal.SIGKILL)

    def take_status(self, data):
        data = data.removeprefix(b"+")  # of a worker that was started for this job
        if data and self.compiles:
            # Only the first report counts: later ones could come from the program.
            self.compiles = False
            send(b"C", dumps({"exit_code": data[1]}).encode())

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

    def exit_code(self):
        """Return the exit code, or the negative number of the signal that ended the worker."""
        return self.told_status if self.wait_status is None else os.waitstatus_to_exitcode(self.wait_status)

    def send_result(self, code):
        """Send the result, if it fits, of a program that succeeded or whose time is over.

        Return its size, None if there is none.
        """
        if self.limits["mode"] == "script" or (code != 0 and not self.is_over):
            return None
        result, size = read_own(RESULT, self.limits["result_bytes"])
        if result and size <= self.limits["result_bytes"]:
            send(b"R", result)
        return size


def kill_everything():
    """Kill every process but this one, so that no artifact changes while it is read."""
    while True:
        # A process that is just being forked may escape one round, so repeat until none is left.
        with suppress(ProcessLookupError):
            os.kill(-1, _signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def send_artifacts(job):
    """Send the files that the program left; return what was dropped, as a list of [name, reason]."""
    # Tearing down an interpreter takes longer than most runs. Without artifacts, leave the processes to the
    # sandbox's removal, which happens after the answer.
    if not leaves_files(job):
        return []
    kill_everything()
    import artifacts

    with as_program():
        collected = artifacts.Collection(WORKSPACE, job)
        for name, content in collected.files():
            encoded = name.encode("utf-8")
            send(b"A", len(encoded).to_bytes(2, "big") + encoded + content)
        return collected.dropped


def leaves_files(job):
    own = {"artifacts", job["source_file"].split("/")[0]}
    with as_program():
        try:
            return bool(os.listdir(f"{WORKSPACE}/artifacts")) or not own.issuperset(os.listdir(WORKSPACE))
        except OSError:
            return True


def wait_for_leave_to_go():
    """Block until the platform has read the sandbox's usage, which is lost when the runner exits.

    The platform then sends a frame or closes stdin. A frame that was sent before the end is skipped.
    """
    while read_frame()[0] in (b"W", b"T"):
        pass


def prepare_workspace():
    os.setgroups([])
    with as_program():
        os.chdir(WORKSPACE)
        # The folder exists already, or the seccomp profile forbids mkdir; then the program leaves no artifacts.
        with suppress(FileExistsError, PermissionError):
            os.mkdir("artifacts")


def main():
    config = loads(sys.argv[-1])
    wake, wake_end = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_end, False)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    if config.get("egress"):
        start_carrier()
    prepare_workspace()
    told = open_exit_fifo()
    workers = Workers(config)
    worker = workers.start(config["preload"])
    wait_until_ready(worker)
    send(b"H", dumps({"protocol": PROTOCOL}).encode())
    worker, encoded = wait_for_job(worker, workers, config)
    job = loads(encoded)
    cold = workers.started_too_early(job)
    if cold:
        worker.discard()
        worker = workers.start_for(job)
    _signal.set_wakeup_fd(wake_end)
    run = Run(worker, encoded, job, wake, told, compiles=bool((config.get("commands") or {}).get("compile")))
    run.until_end()
    code = run.exit_code()
    result_bytes = run.send_result(code)
    dropped = send_artifacts(job)
    end = {
        "exit_code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "stdout_bytes": run.written[worker.stdout],
        "stderr_bytes": run.written[worker.stderr],
        "result_bytes": result_bytes,
        "cold": cold,
        "dropped": dropped,
    }
    send(b"X", dumps(end).encode())
    wait_for_leave_to_go()


if __name__ == "__main__":
    try:
        main()
    except HostGone:
        pass
    except OSError as e:
        if e.errno != errno.EPIPE:
            raise
