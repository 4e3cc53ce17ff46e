"""Run commands on the machine that is being set up, and report steps and errors."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".setup"
LOG = STATE / "setup.log"

Command = Sequence[str | Path]
# Between two lines about what a long command is doing.
TOLD_EVERY_S = 10.0


class SetupError(Exception):
    """A failed check, its cause, and the command that fixes it."""

    def __init__(self, check: str, cause: str, fix: str) -> None:
        super().__init__(f"{check}: {cause}")
        self.check, self.cause, self.fix = check, cause, fix

    def __str__(self) -> str:
        return f"check: {self.check}\ncause: {self.cause}\nfix:   {self.fix}"


class Step:
    """A step that prints one line when it starts and one when it ends. `note` adds a result to the second line."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


# The step of this thread, and the one whose heading was printed last.
_current: ContextVar[str] = ContextVar("_current", default="")
_printing = threading.Lock()
_last_heading = ""


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Report a step. Others may run at the same time."""
    current = Step()
    started = time.monotonic()
    outer = _current.set(title)
    try:
        _say_heading(title)
        yield current
        outcome = "; ".join(current.notes) or "done"
        detail(f"{outcome} ({time.monotonic() - started:.1f} s)")
    finally:
        _current.reset(outer)


def _say_heading(title: str) -> None:
    global _last_heading
    with _printing:
        _last_heading = title
        say(f"==> {title}")


def detail(text: str) -> None:
    """Say a line of the current step. It has the step's name if it comes under the heading of another one."""
    title = _current.get()
    with _printing:
        say(f"    {text}" if title in ("", _last_heading) else f"    {title}: {text}")


def say(text: str) -> None:
    # In one piece, because steps that run at the same time write too.
    print(f"{text}\n", end="", flush=True)


def is_root() -> bool:
    return os.geteuid() == 0


def as_root(command: Command) -> list[str]:
    words = [str(word) for word in command]
    if is_root():
        return words
    if shutil.which("sudo") is None:
        raise SetupError(
            "root access", f"`{words[0]}` needs root, and sudo is not installed", "run `make` again as root"
        )
    return ["sudo", "-n", "--", *words]


def run(
    command: Command,
    *,
    root: bool = False,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return it, whatever the exit status. Its output also goes to the log.

    A missing command returns exit status 127, a timeout (in seconds) 124. The environment is not logged: it may contain
    credentials for package mirrors.
    """
    words = as_root(command) if root else [str(word) for word in command]
    full_env = {**os.environ, **env} if env else None
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=full_env,
            timeout=timeout,
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError:
        done = subprocess.CompletedProcess(words, 127, "", f"{words[0]}: command not found")
    except subprocess.TimeoutExpired:
        done = subprocess.CompletedProcess(words, 124, "", f"{words[0]}: not finished within {timeout:.0f} s")
    _log(words, done)
    return done


def follow(
    command: Command, *, silence_s: float, shown: Callable[[str], str], root: bool = False, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a command that takes minutes and return it, with stdout and stderr as one text in `stdout`.

    Every few seconds, print what `shown` makes of the newest line, unless that is "". Without a line for `silence_s`
    seconds the command is ended, with exit status 124: a slow machine has all the time that it needs.
    """
    words = as_root(command) if root else [str(word) for word in command]
    lines: list[str] = []
    told = time.monotonic()
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd
    ) as process:
        assert process.stdout  # noqa: S101
        while select.select([process.stdout], [], [], silence_s)[0]:
            # As it comes, because a buffered reader would hide lines from select.
            if not (arrived := os.read(process.stdout.fileno(), 65536)):
                break
            lines.append(arrived.decode(errors="replace"))
            newest = shown(lines[-1].strip().rsplit("\n", 1)[-1])
            if newest and time.monotonic() - told >= TOLD_EVERY_S:
                told = time.monotonic()
                detail(redact(newest))
        else:
            lines.append(f"\n{words[0]}: ended, because it wrote nothing for {silence_s:.0f} s\n")
            run(["sh", "-c", f"kill {process.pid}"], root=root)
            process.wait()
            process.returncode = 124
    done = subprocess.CompletedProcess(words, process.returncode, "".join(lines), "")
    _log(words, done)
    return done


def must(
    command: Command,
    *,
    check: str,
    fix: str,
    root: bool = False,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    cwd: Path = ROOT,
) -> str:
    """Run a command and return its standard output.

    Raises SetupError, which quotes the last lines of the output, for a non-zero exit status.
    """
    done = run(command, root=root, env=env, stdin=stdin, timeout=timeout, cwd=cwd)
    if done.returncode != 0:
        shown = " ".join(str(word) for word in command)
        raise SetupError(
            check,
            f"`{shown}` exited with status {done.returncode}\n{tail(done)}\n(full output: {LOG.relative_to(ROOT)})",
            fix,
        )
    return done.stdout


def tail(done: subprocess.CompletedProcess[str], lines: int = 25) -> str:
    text = redact((done.stdout + done.stderr).strip())
    return "\n".join("       " + line for line in text.splitlines()[-lines:])


def redact(text: str) -> str:
    """Remove credentials from URLs: addresses of mirrors often contain some, and logs get pasted into tickets."""
    return re.sub(r"://[^/\s@]+@", "://***@", text)


def record(done: subprocess.CompletedProcess[str]) -> None:
    """Write a command that was run in another way to the log."""
    _log(done.args, done)


def _log(words: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
    STATE.mkdir(exist_ok=True)
    with LOG.open("a", encoding="utf-8") as log:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        log.write(redact(f"--- {stamp} [{done.returncode}] {' '.join(words)}\n{done.stdout}{done.stderr}\n"))


def write_root_file(path: Path, text: str, mode: int = 0o644) -> None:
    if is_root():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return
    fix = f"write {path} by hand, then run `make` again"
    must(["mkdir", "-p", path.parent], root=True, check=f"writing {path}", fix=fix)
    must(["tee", path], root=True, stdin=text, check=f"writing {path}", fix=fix)
    must(["chmod", f"{mode:o}", path], root=True, check=f"writing {path}", fix=fix)


@dataclass(frozen=True)
class Release:
    distribution: str  # "debian" or "ubuntu"
    version: str
    codename: str


SUPPORTED = {("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")}


def parse_os_release(text: str) -> Release:
    pairs = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    value = {key: raw.strip().strip("\"'") for key, raw in pairs.items()}
    return Release(value.get("ID", ""), value.get("VERSION_ID", ""), value.get("VERSION_CODENAME", ""))


def release() -> Release:
    try:
        return parse_os_release(Path("/etc/os-release").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Release("unknown", "", "")


def has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def parse_version(text: str) -> tuple[int, ...]:
    """Return the first dotted number in the text: `Docker version 26.1.5+dfsg1` gives (26, 1, 5)."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def fail(error: SetupError) -> int:
    print(
        f"\nFAILED\n{error}\n\nThen run the same make target again: it continues where it stopped.",
        file=sys.stderr,
    )
    return 1
