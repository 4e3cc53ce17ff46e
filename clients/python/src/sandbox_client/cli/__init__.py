"""The command `sandbox`. Each subcommand is a module, loaded when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from sandbox_client.cli.exits import PLATFORM
from sandbox_client.errors import ProblemError, SandboxError

# Name of the subcommand → module and command. A new one needs a line here, and no import at every start.
COMMANDS = {
    "artifacts": "history:artifacts",
    "cancel": "history:cancel",
    "completion": "completion:completion",
    "login": "account:login",
    "logout": "account:logout",
    "logs": "history:logs",
    "mcp": "mcp:mcp",
    "run": "running:run",
    "runs": "history:runs",
    "runtimes": "runtimes:runtimes",
    "show": "history:show",
}


class Lazy(click.Group):
    """Loads a subcommand's module when it is needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the subcommands."""
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a subcommand; None for an unknown name."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101
        return command


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sandbox-platform-client", prog_name="sandbox")
@click.option("--url", help="Address of the platform; by default SANDBOX_URL or that of `sandbox login`.")
@click.pass_context
def cli(context: click.Context, url: str | None) -> None:
    """Run programs in fresh sandboxes of a Sandbox Platform."""
    context.obj = url


def main() -> None:
    """Run the command, and turn the platform's errors into a line on stderr."""
    try:
        cli.main(prog_name="sandbox")
    except SandboxError as e:
        _tell(str(e))
        if isinstance(e, ProblemError) and e.request_id:
            _tell(f"request {e.request_id}")
        if e.submitted_id:
            _tell(f"run {e.submitted_id} may continue: sandbox logs -f {e.submitted_id}")
        sys.exit(PLATFORM)
    except OSError as e:
        _tell(str(e))
        sys.exit(PLATFORM)


def _tell(text: str) -> None:
    from sandbox_client.cli.terminal import one_line

    click.echo(f"sandbox: {one_line(text)}", err=True)
