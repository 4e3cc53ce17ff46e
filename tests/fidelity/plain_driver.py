"""The plain side's first process: runs one program after the other as a shell would, and reports how each ended.

Started inside the image as `python3 -c`, as the program's user, with nothing of the platform's around it. Reads from
stdin a length (4 bytes, big-endian) and JSON, a list of runs; prints a line of JSON for each run. Only modules of
Debian's python3-minimal: the images of other languages have no more.
"""

import binascii
import contextlib
import json
import os
import select
import signal
import stat
import sys
import time

WORKSPACE = "/workspace"
PROGRAM = "/tmp/program"
CLEANED = (WORKSPACE, "/tmp", "/dev/shm", "/home/nobody")
TICK_S = 0.004
NOT_FOUND = 127


def initial_environment():
    """The container's variables as Docker gives them: Python may have added LC_CTYPE to its own."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (entry.partition(b"=") for entry in file.read().split(b"\0") if entry)
        return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def read_exactly(size):
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            sys.exit("stdin ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def paths_in(folder):
    return [os.path.join(folder, name) for name in os.listdir(folder)]


def remove_all_in(folder, spared=()):
    with contextlib.suppress(PermissionError):  # /tmp and /dev/shm belong to root
        os.chmod(folder, 0o700)
    for path in paths_in(folder):
        if path in spared:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            remove_all_in(path)
            os.rmdir(path)
        else:
            os.unlink(path)


def clean(of_the_image):
    """Remove what the last program left, but not what the image has in these folders."""
    for folder in CLEANED:
        remove_all_in(os.fsencode(folder), of_the_image)
    os.mkdir(f"{WORKSPACE}/artifacts")


def write_file(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def filled_in(words, source):
    stem = os.path.splitext(os.path.basename(source))[0]
    values = {"{source}": source, "{program}": PROGRAM, "{name}": stem, "{folder}": os.path.dirname(source)}
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    return words


class Process:
    """A program under way: its pipes, what it wrote, and how it ended."""

    def __init__(self, command, environment, stdin, *, merged=False):
        theirs_in, self.stdin = os.pipe()
        self.stdout, theirs_out = os.pipe()
        self.stderr, theirs_err = os.pipe()
        targets = (theirs_in, theirs_err if merged else theirs_out, theirs_err)
        high = [os.dup(fd) for fd in targets]  # above 2, whatever the descriptors' numbers
        self.pid = os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(high)],
            setsid=True,
            setsigmask=[],
            # Python ignores these, and an ignored signal stays ignored.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
        for fd in (*high, theirs_in, theirs_out, theirs_err):
            os.close(fd)
        self.pending = memoryview(stdin)
        self.written = {self.stdout: bytearray(), self.stderr: bytearray()}
        self.status = None
        self.poll = select.poll()
        for fd in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(fd, False)
        self.poll.register(self.stdout, select.POLLIN)
        self.poll.register(self.stderr, select.POLLIN)
        self.poll.register(self.stdin, select.POLLOUT)
        self.open = {self.stdin, self.stdout, self.stderr}

    def close(self, fd):
        if fd in self.open:
            self.open.discard(fd)
            self.poll.unregister(fd)
            os.close(fd)

    def feed(self):
        try:
            self.pending = self.pending[os.write(self.stdin, self.pending[: 1 << 16]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.pending = self.pending[:0]
        if not self.pending:
            self.close(self.stdin)

    def drain(self, fd):
        """Read once; return False if the pipe held nothing."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            self.close(fd)
        self.written[fd] += data
        return bool(data)

    def reap(self):
        """Wait for every process that has ended, also for orphans, as the first process of a system must."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = status

    def until_end(self, deadline):
        while self.status is None:
            for fd, _ in self.poll.poll(TICK_S * 1000):
                if fd == self.stdin:
                    self.feed()
                else:
                    self.drain(fd)
            if not self.open & {self.stdout, self.stderr}:
                time.sleep(TICK_S)
            self.reap()
            if time.monotonic() > deadline:
                return False
        for fd in (self.stdout, self.stderr):
            # What the pipe holds at the end counts; what orphans write later does not.
            while fd in self.open and self.drain(fd):
                pass
        return True

    def finish(self):
        kill_everything()
        for fd in list(self.open):
            self.close(fd)


def kill_everything():
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def left_files(run):
    """Return what the platform returns too, regular files in artifacts/ and in the working folder itself.

    And as a second value the names of those that the program's user cannot read.
    """
    inputs = {file["path"]: file["base64"] for file in run["files"]}
    found, unreadable = {}, []
    for folder in (f"{WORKSPACE}/artifacts", WORKSPACE):
        if not os.path.isdir(folder) or os.path.islink(folder):
            continue
        for name in sorted(os.listdir(folder)):
            path = f"{folder}/{name}"
            info = os.lstat(path)
            own = folder == WORKSPACE and name == run["source_file"]
            if own or name in found or name.startswith(".") or not stat.S_ISREG(info.st_mode) or not info.st_size:
                continue
            if not os.access(path, os.R_OK):
                unreadable.append(name)
                continue
            with open(path, "rb") as file:
                content = encoded(file.read())
            if folder != WORKSPACE or inputs.get(name) != content:
                found[name] = content
    return found, unreadable


def encoded(data):
    return binascii.b2a_base64(data, newline=False).decode()


def one(run, base, of_the_image):
    clean(of_the_image)
    source = f"{WORKSPACE}/{run['source_file']}"
    for file in run["files"]:
        write_file(f"{WORKSPACE}/{file['path']}", binascii.a2b_base64(file["base64"]))
    write_file(source, run["code"].encode("utf-8", "surrogatepass"))
    deadline = time.monotonic() + run["seconds"]
    stderr = b""
    environment = {**base, **run["environment"]}
    if run["compile"]:
        done = executed(filled_in(run["compile"], source), base, b"", deadline, merged=True)
        stderr = done["stderr"]
        if done["exit_code"] != 0 or done["timed_out"]:
            status = done["exit_code"] if done["signal"] is None else 128 + done["signal"]
            return report(run, {**done, "exit_code": status, "signal": None, "stdout": b""})
    done = executed([*filled_in(run["run"], source), *run["argv"]], environment, stdin_of(run), deadline)
    return report(run, {**done, "stderr": stderr + done["stderr"]})


def stdin_of(run):
    return run["stdin"].encode("utf-8", "surrogatepass") * run["stdin_times"]


def executed(command, environment, stdin, deadline, *, merged=False):
    try:
        process = Process(command, environment, stdin, merged=merged)
    except OSError as e:
        message = f"{command[0]}: {e.strerror}\n".encode()
        return {"exit_code": NOT_FOUND, "signal": None, "stdout": b"", "stderr": message, "timed_out": False}
    ended = process.until_end(deadline)
    process.finish()
    code = os.waitstatus_to_exitcode(process.status) if ended else None
    return {
        "exit_code": code if ended and code >= 0 else None,
        "signal": -code if ended and code < 0 else None,
        "stdout": bytes(process.written[process.stdout]),
        "stderr": bytes(process.written[process.stderr]),
        "timed_out": not ended,
    }


def report(run, done):
    files, unreadable = left_files(run)
    return {
        **done,
        "name": run["name"],
        "stdout": encoded(done["stdout"]),
        "stderr": encoded(done["stderr"]),
        "files": files,
        "unreadable": unreadable,
    }


def main():
    os.umask(0o022)
    base = initial_environment()
    runs = json.loads(read_exactly(int.from_bytes(read_exactly(4), "big")))
    os.chdir(WORKSPACE)
    of_the_image = {path for folder in CLEANED for path in paths_in(os.fsencode(folder))}
    for run in runs:
        print(json.dumps(one(run, base, of_the_image)), flush=True)


main()
