"""`sandbox run`: a program runs on the platform as if it ran here."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click

from sandbox_client import Execution, Limits, Program, Sandbox, SandboxError, Unavailable
from sandbox_client.cli import runtimes, settings, terminal
from sandbox_client.cli.exits import INTERRUPTED, PIPE_CLOSED
from sandbox_client.models import Event
from sandbox_client.programs import files_of

STDIN = "-"
# After Ctrl-C: for the platform to answer a submission that is on its way.
GRACE_S = 5.0
# Between two looks at it: some systems deliver Ctrl-C only then.
WAKE_S = 0.5
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that are in that folder already.")


# After PROGRAM everything is the program's, with or without "--".
@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("program", type=click.Path(dir_okay=False, exists=True, allow_dash=True), required=False)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
@click.option("-c", "--code", help="The program itself, in place of a file; all arguments are the program's.")
@click.option("-r", "--runtime", shell_complete=runtimes.complete, help="Language; by default by the file's name.")
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    metavar="[NAME=]PATH",
    help="File or folder beside the program; repeat it.",
)
@click.option(
    "-e", "--env", "variables", multiple=True, metavar="NAME[=VALUE]", help="Variable; without a value, yours."
)
@click.option("-l", "--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label to find the run by.")
@click.option(
    "-t", "--timeout", type=click.FloatRange(min=0.001), help="Seconds after which the program is ended."
)
@click.option("-n", "--no-stdin", is_flag=True, help="Give the program no stdin, as if it were /dev/null.")
@click.option("-o", "--output", type=click.Path(file_okay=False), help="Folder for the program's artifacts.")
@overwrite_option
@click.option("-d", "--detach", is_flag=True, help="Print the id of the run and do not wait.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the ended run as the API's JSON, without live output."
)
@click.pass_context
def run(
    context: click.Context,
    program: str | None,
    argv: tuple[str, ...],
    code: str | None,
    runtime: str | None,
    files: tuple[str, ...],
    variables: tuple[str, ...],
    labels: tuple[str, ...],
    timeout: float | None,
    no_stdin: bool,
    output: str | None,
    overwrite: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Run PROGRAM, or stdin if it is "-", with live output.

    ARGV and what comes in on stdin are the program's. Exits with the program's status; 124 after a time limit, 125 if
    the platform failed or the artifacts could not be saved. Ctrl-C cancels the run.

    \b
    sandbox run script.py -- --verbose in.csv < numbers.txt
    sandbox run -f data.csv -o results plot.py
    """
    if argv[:1] == ("--",):
        argv = argv[1:]
    if code is not None and program is not None:
        argv, program = (program, *argv), None
    if code is None and program is None:
        raise click.UsageError("Give a PROGRAM, or --code.")
    with terminal.Upload() as upload, settings.client(context, on_upload=upload) as sandbox:
        wanted = _program(program, code)
        wanted["runtime"] = runtime or runtimes.runtime_of(sandbox, program or "")
        wanted["files"] = _joined(_files(files), files_of(wanted.get("files", {})))
        wanted["argv"] = argv
        wanted["environment"] = dict(_variable(it) for it in variables)
        wanted["labels"] = dict(label(it) for it in labels)
        wanted["stdin"] = "" if no_stdin or program == STDIN else _stdin()
        if timeout is not None:
            wanted["limits"] = Limits(wall_time_ms=max(1, round(timeout * 1000)))
        if not wanted["files"]:
            del wanted["files"]
        try:
            execution = _submitted(sandbox, wanted)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        if detach:
            click.echo(execution.id)
            return
        sys.exit(Follower(sandbox, execution, as_json, output, overwrite).exit_status())


def _submitted(sandbox: Sandbox, wanted: Program) -> Execution:
    """Submit, and cancel the run if Ctrl-C is pressed meanwhile.

    A thread of its own does it: Ctrl-C would break off a request that the platform may have accepted already, with the
    id of the run in its answer.
    """
    outcome: Future[Execution] = Future()

    def submit() -> None:
        try:
            outcome.set_result(sandbox.submit(**wanted))
        except BaseException as e:
            outcome.set_exception(e)

    threading.Thread(target=submit, daemon=True).start()
    try:
        while not wait([outcome], WAKE_S).done:
            pass
    except KeyboardInterrupt:
        if not wait([outcome], GRACE_S).done:
            click.echo("sandbox: the platform has not said whether it accepted the program", err=True)
        elif not outcome.exception():
            Follower(sandbox, outcome.result()).cancel()
        raise
    return outcome.result()


@dataclass
class Follower:
    """Shows a run to its end, and cancels it if nobody wants it any more."""

    sandbox: Sandbox
    execution: Execution
    as_json: bool = False
    output: str | None = None
    overwrite: bool = False

    def exit_status(self) -> int:
        """Return the status for the command to exit with."""
        ended = None
        try:
            ended = self._ended()
            found = None if self.output is None else self.sandbox.artifacts(ended)
        except KeyboardInterrupt:
            if ended is None:
                self.cancel()
            return INTERRUPTED
        except BrokenPipeError:
            self.cancel()
            terminal.give_up_stdout()
            return PIPE_CLOSED
        except SandboxError as e:
            e.submitted_id = self.execution.id
            raise
        if not self.as_json and ended.outcome not in ("completed", "nonzero_exit"):
            click.echo(terminal.one_line(f"sandbox: {ended.status}: {ended.message}"), err=True)
        if found is not None and self.output is not None:
            terminal.saved(found, self.output, overwrite=self.overwrite)
        return ended.exit_status

    def _ended(self) -> Execution:
        with terminal.waiting("queued") as line:
            if self.as_json:
                ended = self.sandbox.wait(self.execution)
                line.ends()
                terminal.write_json(dict(ended.raw))
                return ended
            is_shown = False
            try:
                for event in self.sandbox.stream(self.execution):
                    show(event, line)
                    is_shown = is_shown or event.kind != "status"
            except Unavailable:
                # Too many streams: without live output then. But what was shown must not be shown again.
                if is_shown:
                    raise
                ended = self.sandbox.wait(self.execution)
                line.ends()
                terminal.write(ended.stdout)
                terminal.write(ended.stderr, err=True)
                return ended
        return self.sandbox.get(self.execution)

    def cancel(self) -> None:
        """Cancel the run, or tell why it was not cancelled."""
        try:
            self.sandbox.cancel(self.execution)
        except SandboxError as e:
            click.echo(terminal.one_line(f"sandbox: {self.execution.id} was not cancelled: {e}"), err=True)


def show(event: Event, line: terminal.Waiting) -> None:
    """Write an event of a run."""
    if event.kind == "status":
        line.says(event.status)
        return
    line.ends()
    terminal.write(event.text, err=event.kind == "stderr")


def _program(program: str | None, code: str | None) -> Program:
    if code is not None:
        return {"code": code}
    if program == STDIN:
        return {"code": _text(sys.stdin.buffer.read(), "The program")}
    path = Path(program or "")
    return {"files": {path.name: path.read_bytes()}, "entry": path.name}


def _stdin() -> str:
    return "" if sys.stdin is None or sys.stdin.isatty() else _text(sys.stdin.buffer.read(), "stdin")


def _text(content: bytes, what: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as e:
        raise click.ClickException(f"{what} is not UTF-8; send binary data with --file.") from e
    if "\0" in text:
        raise click.ClickException(f"{what} has NUL characters; send binary data with --file.")
    return text


def _files(named: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for it in named:
        name, separator, path = it.rpartition("=")
        if separator and Path(it).exists():
            name, path = "", it
        local = Path(path)
        is_elsewhere = local.is_absolute() or ".." in local.parts
        # Without a "." at its beginning, which the platform refuses.
        target = PurePosixPath(name or (local.name if is_elsewhere else local.as_posix()))
        if local.is_dir():
            inside = [each for each in sorted(local.rglob("*")) if each.is_file()]
            found = _joined(
                found, {str(target / each.relative_to(local).as_posix()): each.read_bytes() for each in inside}
            )
        elif local.is_file():
            found = _joined(found, {str(target): local.read_bytes()})
        else:
            raise click.BadParameter(f"there is no file {path}", param_hint="--file")
    return found


def _joined(some: dict[str, bytes], others: dict[str, bytes]) -> dict[str, bytes]:
    for path in some.keys() & others.keys():
        if some[path] != others[path]:
            raise click.BadParameter(
                f"two files would be {path} in the sandbox: say NAME=PATH", param_hint="--file"
            )
    return some | others


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator and name not in os.environ:
        raise click.BadParameter(f"{name} is not set here: give NAME=VALUE", param_hint="--env")
    return name, value if separator else os.environ[name]


def label(text: str) -> tuple[str, str]:
    """Return name and value of a label. Raises BadParameter."""
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text} is not NAME=VALUE", param_hint="--label")
    return name, value
