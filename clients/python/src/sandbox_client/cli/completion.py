"""`sandbox completion`: what the shell needs to complete the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

# zsh has `compdef` only after compinit, which not every .zshrc calls.
COMPDEF = "\n    compdef "
LOADING = (COMPDEF, "\n    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }" + COMPDEF)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion of a shell.

    \b
    bash: echo 'eval "$(sandbox completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(sandbox completion zsh)"' >> ~/.zshrc
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has both
    root = context.find_root()
    click.echo(kind(root.command, {}, "sandbox", "_SANDBOX_COMPLETE").source().replace(*LOADING))
