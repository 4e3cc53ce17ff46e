"""`sandbox run`: a program runs on the platform as if it ran here."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from sandbox_client import Execution, Limits, Program, Sandbox, SandboxError, Unavailable
from sandbox_client.cli import runtimes, settings, terminal
from sandbox_client.cli.exits import INTERRUPTED, PIPE_CLOSED
from sandbox_client.models import Event

STDIN = "-"


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
    detach: bool,
    as_json: bool,
) -> None:
    """Run PROGRAM, or stdin if it is "-", with live output.

    ARGV and what comes in on stdin are the program's. Exits with the program's status; 124 after a time limit, 125 if
    the platform failed. Ctrl-C cancels the run.

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
    with settings.client(context, on_upload=terminal.Upload()) as sandbox:
        wanted = _program(program, code)
        wanted["runtime"] = runtime or runtimes.runtime_of(sandbox, program or "")
        wanted["files"] = {**_files(files), **wanted.get("files", {})}  # type: ignore[dict-item]
        wanted["argv"] = argv
        wanted["environment"] = dict(_variable(it) for it in variables)
        wanted["labels"] = dict(label(it) for it in labels)
        wanted["stdin"] = "" if no_stdin or program == STDIN else _stdin()
        if timeout is not None:
            wanted["limits"] = Limits(wall_time_ms=max(1, round(timeout * 1000)))
        if not wanted["files"]:
            del wanted["files"]
        execution = sandbox.submit(**wanted)
        if detach:
            click.echo(execution.id)
            return
        sys.exit(Follower(sandbox, execution, as_json, output).exit_status())


@dataclass
class Follower:
    """Shows a run to its end, and cancels it if nobody wants it any more."""

    sandbox: Sandbox
    execution: Execution
    as_json: bool = False
    output: str | None = None

    def exit_status(self) -> int:
        """Return the status for the command to exit with."""
        try:
            ended = self._ended()
        except KeyboardInterrupt:
            self._cancel()
            return INTERRUPTED
        except BrokenPipeError:
            self._cancel()
            terminal.give_up_stdout()
            return PIPE_CLOSED
        if self.output is not None:
            for path in self.sandbox.artifacts(ended).save(self.output):
                terminal.MESSAGES.print(f"saved {path}", markup=False)
        if not self.as_json and ended.outcome not in ("completed", "nonzero_exit"):
            click.echo(f"sandbox: {ended.status}: {ended.message}", err=True)
        return ended.exit_status

    def _ended(self) -> Execution:
        with terminal.waiting("queued") as line:
            if self.as_json:
                ended = self.sandbox.wait(self.execution)
                line.ends()
                terminal.write_json(dict(ended.raw))
                return ended
            try:
                for event in self.sandbox.stream(self.execution):
                    show(event, line)
            except Unavailable:  # too many streams: without live output then
                ended = self.sandbox.wait(self.execution)
                line.ends()
                terminal.write(ended.stdout)
                terminal.write(ended.stderr, err=True)
                return ended
        return self.sandbox.get(self.execution)

    def _cancel(self) -> None:
        try:
            self.sandbox.cancel(self.execution)
        except SandboxError as e:
            click.echo(f"sandbox: not cancelled: {e}", err=True)


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
        target = name or (local.name if local.is_absolute() or ".." in local.parts else local.as_posix())
        if local.is_dir():
            inside = [each for each in sorted(local.rglob("*")) if each.is_file()]
            found |= {f"{target}/{each.relative_to(local).as_posix()}": each.read_bytes() for each in inside}
        elif local.is_file():
            found[target] = local.read_bytes()
        else:
            raise click.BadParameter(f"there is no file {path}", param_hint="--file")
    return found


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
