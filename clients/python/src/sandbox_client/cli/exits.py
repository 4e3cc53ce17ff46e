"""Exit statuses of the command beside those of programs, as `docker run` and `timeout` have them."""

from __future__ import annotations

import click

PLATFORM = 125  # the platform refused or failed, or could not be reached
INTERRUPTED = 130  # Ctrl-C
PIPE_CLOSED = 141  # whoever read the output has gone


class Failed(click.ClickException):
    """What the command itself could not do, as opposed to the program."""

    exit_code = PLATFORM
