"""`sandbox login` and `sandbox logout`."""

from __future__ import annotations

import sys

import click

from sandbox_client import Sandbox
from sandbox_client.access import checked_token
from sandbox_client.cli import settings


@click.command()
@click.argument("address", metavar="[URL]", required=False)
@click.option("--no-keyring", is_flag=True, help="Keep the token in a file that only you can read.")
@click.pass_context
def login(context: click.Context, address: str | None, no_keyring: bool) -> None:
    """Keep the platform's URL and a token for later commands.

    The token is asked for, or read from stdin in a pipe. It is tried, then kept in the keyring if one works, otherwise
    in a file with mode 0600.
    """
    address = settings.url(address or context.find_root().obj)
    if sys.stdin.isatty():
        secret = click.prompt(f"Token for {address}", hide_input=True, err=True)
    else:
        secret = sys.stdin.readline()
    secret = checked_token(secret)
    if not secret:
        raise click.UsageError("No token was given.")
    with Sandbox(address, secret) as sandbox:
        caller = sandbox.me()
    place = settings.remember(address, secret, use_keyring=not no_keyring)
    click.echo(
        f"{address}: {caller.client or 'without a client'} ({caller.role}). The token is in {place}.", err=True
    )


@click.command()
@click.argument("address", metavar="[URL]", required=False)
@click.pass_context
def logout(context: click.Context, address: str | None) -> None:
    """Remove the token of a platform. It stays valid: an administrator revokes it."""
    address = settings.url(address or context.find_root().obj)
    if not settings.forget(address):
        raise click.ClickException(f"there is no token for {address}")
    click.echo(f"The token for {address} is removed.", err=True)
