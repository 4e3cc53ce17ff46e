"""Commands about runs that were submitted: runs, show, logs, artifacts, cancel."""

from __future__ import annotations

import sys

import click

from sandbox_client import Execution
from sandbox_client.cli import settings, terminal
from sandbox_client.cli.exits import INTERRUPTED, PIPE_CLOSED
from sandbox_client.cli.running import label, overwrite_option
from sandbox_client.cli.running import show as show_event
from sandbox_client.searching import Filters

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the API's JSON.")
SHOWN = (
    "id", "status", "outcome", "message", "runtime", "client", "labels", "exit_code", "signal", "queued_at",
    "finished_at", "duration_ms", "cpu_ms", "peak_memory_bytes", "artifact_count", "batch_id", "request_id", "node",
)  # fmt: skip


@click.command()
@click.argument("words", required=False, default="")
@click.option("-r", "--runtime", help="Only this language.")
@click.option("-s", "--status", help="Only this status, such as failed.")
@click.option(
    "-l", "--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only with this label; repeat it."
)
@click.option("--after", metavar="TIME", help="Only submitted since, such as 2026-01-31T12:00Z.")
@click.option("-m", "--limit", type=click.IntRange(1), default=20, show_default=True, help="So many at most.")
@as_json_option
@click.pass_context
def runs(
    context: click.Context,
    words: str,
    runtime: str | None,
    status: str | None,
    labels: tuple[str, ...],
    after: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List runs, newest first: all, or those with WORDS in code or output."""
    filters = Filters(labels=dict(label(it) for it in labels))
    if runtime:
        filters["runtime"] = runtime
    if status:
        filters["status"] = status
    if after:
        filters["queued_after"] = after
    with settings.client(context) as sandbox:
        found = list(sandbox.search(words, limit=limit, **filters))
    if as_json:
        terminal.write_json([dict(it.raw) for it in found])
        return
    terminal.write_rows(["id", "submitted", "runtime", "status", "ms", "message"], [_row(it) for it in found])


def _row(it: Execution) -> tuple[object, ...]:
    at = it.queued_at.astimezone().isoformat(" ", "seconds") if it.queued_at else ""
    return it.id, at, it.runtime, it.status, "" if it.duration_ms is None else round(it.duration_ms), it.message


@click.command()
@click.argument("run")
@as_json_option
@click.pass_context
def show(context: click.Context, run: str, as_json: bool) -> None:
    """Show a run without its output, or all of it with --json."""
    with settings.client(context) as sandbox:
        execution = sandbox.get(run)
    if as_json:
        terminal.write_json(dict(execution.raw))
        return
    values = {name: execution.raw.get(name) for name in SHOWN}
    terminal.write_values({name: value for name, value in values.items() if value not in (None, "", {})})


@click.command()
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Print output as it comes, to the end.")
@click.pass_context
def logs(context: click.Context, run: str, follow: bool) -> None:
    """Print the output of a run that has ended; with -f, of one that runs."""
    with settings.client(context) as sandbox, terminal.waiting("") as line:
        try:
            if follow:
                for event in sandbox.stream(run):
                    show_event(event, line)
                return
            execution = sandbox.get(run)
            line.ends()
            terminal.write(execution.stdout)
            terminal.write(execution.stderr, err=True)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            terminal.give_up_stdout()
            sys.exit(PIPE_CLOSED)


@click.command()
@click.argument("run")
@click.argument("names", nargs=-1)
@click.option("-o", "--output", type=click.Path(file_okay=False), help="Folder to save them in.")
@overwrite_option
@as_json_option
@click.pass_context
def artifacts(
    context: click.Context, run: str, names: tuple[str, ...], output: str | None, overwrite: bool, as_json: bool
) -> None:
    """List a run's artifacts, or save them: all, or those with these NAMES."""
    with settings.client(context) as sandbox:
        found = sandbox.artifacts(run, names=names or None, content=output is not None)
    if missing := sorted(set(names) - {it.name for it in found}):
        raise click.ClickException(f"the run has no artifact {terminal.one_line(missing[0])}")
    if output is not None:
        terminal.saved(found, output, overwrite=overwrite)
    elif as_json:
        terminal.write_json([{"name": it.name, "size": it.size, "content_type": it.content_type} for it in found])
    else:
        terminal.write_rows(["name", "bytes", "type"], [(it.name, it.size, it.content_type) for it in found])


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.pass_context
def cancel(context: click.Context, runs: tuple[str, ...]) -> None:
    """Cancel runs that are queued or running."""
    with settings.client(context) as sandbox:
        for run in runs:
            sandbox.cancel(run)
            click.echo(f"{run}: cancelled", err=True)
