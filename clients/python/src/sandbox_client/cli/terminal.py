"""Writing to terminals and pipes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.status import Status
from rich.table import Table

from sandbox_client import Artifacts
from sandbox_client.cli.exits import Failed

# Smaller requests are sent before a bar could be read.
SHOWN_UPLOAD = 256 * 1024
MESSAGES = Console(stderr=True, highlight=False)
# Characters of JSON that may be ones a terminal obeys.
UNUSUAL = re.compile(r"[^\x20-\x7e\n]")


def write(text: str, *, err: bool = False) -> None:
    """Write a program's output as it is, at once. Raises BrokenPipeError if nobody reads it."""
    stream = (sys.stderr if err else sys.stdout).buffer
    stream.write(text.encode("utf-8", "replace"))
    stream.flush()


def give_up_stdout() -> None:
    """Send what is left to nowhere: Python would complain of the closed pipe when it flushes at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_json(value: Any) -> None:
    """Write one JSON document, in which control characters and those that change the direction of text are escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=not _is_utf8(), sort_keys=False)
    click.echo(UNUSUAL.sub(lambda it: it[0] if it[0].isprintable() else json.dumps(it[0])[1:-1], text))


def write_rows(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to a terminal, and lines with tabs to a pipe."""
    texts = ([one_line(str(cell if cell is not None else "")) for cell in row] for row in rows)
    if not sys.stdout.isatty():
        for row in texts:
            click.echo("\t".join(row))
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in texts:
        table.add_row(*(escape(cell) for cell in row))
    Console(highlight=False).print(table)


def write_values(values: Mapping[str, object]) -> None:
    """Write names and values, a line each."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        click.echo(f"{name:{width}}  {one_line(str(value))}")


def one_line(text: str) -> str:
    """Return the text without line breaks and the control characters that a terminal obeys."""
    return "".join(it if it.isprintable() else " " for it in text)


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


class Upload:
    """A bar on stderr while a large request is sent; nothing in a pipe. `with` removes it, however the upload ends."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._is_over = False

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over = True
        self._ends()

    def __call__(self, sent: int, total: int) -> None:
        """Show that so many bytes were sent."""
        if total < SHOWN_UPLOAD or not MESSAGES.is_terminal or self._is_over:
            return
        if self._bar is None:
            columns = TextColumn("Uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
            self._bar = Progress(*columns, console=MESSAGES, transient=True)
            self._bar.start()
            self._bar.add_task("", total=total)
        self._bar.update(self._bar.task_ids[0], completed=sent)
        if sent == total:
            self._ends()

    def _ends(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def saved(found: Artifacts, folder: str, *, overwrite: bool) -> None:
    """Save a run's artifacts and tell their paths. Raises Failed."""
    try:
        paths = found.save(folder, overwrite=overwrite)
    except FileExistsError as e:
        problem = f"{e.filename} exists: --overwrite replaces it" if e.filename else str(e)
        raise Failed(one_line(f"the artifacts were not saved: {problem}")) from e
    except (OSError, ValueError) as e:
        raise Failed(one_line(f"the artifacts were not saved: {e}")) from e
    for path in paths:
        MESSAGES.print(f"saved {one_line(str(path))}", markup=False)


class Waiting:
    """A line on stderr that says what a run is waiting for, until its output begins."""

    def __init__(self, status: Status | None) -> None:
        self._status = status

    def says(self, text: str) -> None:
        """Replace the text of the line."""
        if self._status:
            self._status.update(escape(one_line(text)))

    def ends(self) -> None:
        """Remove the line."""
        if self._status:
            self._status.stop()
            self._status = None


@contextmanager
def waiting(text: str) -> Iterator[Waiting]:
    """Show a line with a spinner; nothing in a pipe."""
    status = MESSAGES.status(escape(text)) if MESSAGES.is_terminal else None
    if status:
        status.start()
    line = Waiting(status)
    try:
        yield line
    finally:
        line.ends()
