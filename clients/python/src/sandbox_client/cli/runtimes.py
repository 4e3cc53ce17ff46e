"""`sandbox runtimes`, and which runtime a file is for."""

from __future__ import annotations

from pathlib import PurePath

import click
from click.shell_completion import CompletionItem

from sandbox_client import Retries, Runtime, Sandbox, SandboxError
from sandbox_client.cli import settings, terminal

DEFAULT = "python"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the API's JSON.")
@click.pass_context
def runtimes(context: click.Context, as_json: bool) -> None:
    """List the languages."""
    with settings.client(context) as sandbox:
        found = [runtime for runtime in sandbox.runtimes() if runtime.enabled]
    if as_json:
        terminal.write_json([dict(runtime.raw) for runtime in found])
        return
    rows = [
        (
            it.slug,
            it.name,
            ",".join(it.aliases),
            it.limits["wall_time_ms"] // 1000,
            it.limits["memory_bytes"] >> 20,
        )
        for it in found
    ]
    terminal.write_rows(["runtime", "name", "aliases", "seconds", "MiB"], rows)


def runtime_of(sandbox: Sandbox, file_name: str) -> str:
    """Return the runtime whose programs end like this file. Raises UsageError if several do, or none."""
    suffix = PurePath(file_name).suffix
    if suffix in ("", ".py"):
        return DEFAULT
    found = [it.slug for it in sandbox.runtimes() if it.enabled and _is_for(it, suffix)]
    if len(found) != 1:
        known = f"{' and '.join(found)} have" if found else "no runtime has"
        raise click.UsageError(f"{known} programs named *{suffix}: say --runtime.")
    return found[0]


def _is_for(runtime: Runtime, suffix: str) -> bool:
    return PurePath(runtime.source_file).suffix == suffix


def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the runtimes that begin like this, for a shell; none if the platform does not answer at once."""
    try:
        address = settings.url(context.find_root().params.get("url"))
        # Without the keyring, which may open a window that asks for a password.
        token = settings.token(address, use_keyring=False)
        with Sandbox(address, token, timeout=2, retries=Retries(most=0)) as sandbox:
            found = sandbox.runtimes()
    except (SandboxError, click.ClickException):
        return []
    return [CompletionItem(it.slug, help=it.name) for it in found if it.enabled and it.slug.startswith(incomplete)]
