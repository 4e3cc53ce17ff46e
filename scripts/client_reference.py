"""Write docs/python-reference.md from the client's own signatures, docstrings and help: `make client-reference`."""

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import sandbox_client
from sandbox_client.cli import cli

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/python-reference.md"
MARK = "<!-- Generated from clients/python by `make client-reference`. Do not edit. -->"


def page() -> str:
    return "\n".join([MARK, "# Python client and command line: reference", "", *_library(), *_commands()]) + "\n"


def _library() -> Iterator[str]:
    yield "How to install it and first examples: [the Python client](python.md)."
    for name in ("Sandbox", "AsyncSandbox"):
        yield from _client(getattr(sandbox_client, name))
    for name in sandbox_client.__all__:
        value = getattr(sandbox_client, name)
        if name not in ("Sandbox", "AsyncSandbox"):
            yield from _class(value)


def _client(kind: type) -> Iterator[str]:
    yield from ("", f"## {kind.__name__}", "", inspect.getdoc(kind) or "", "")
    yield from _method(kind.__name__, getattr(kind, "__init__"))  # noqa: B009 - mypy has a rule about it
    for name, method in vars(kind).items():
        if not name.startswith("_") and callable(method):
            yield from _method(name, method)


def _method(name: str, method: Callable[..., object]) -> Iterator[str]:
    text = str(inspect.signature(method)).replace("(self)", "()")
    text = re.sub(r"\(self, (?:/, )?", "(", text)
    text = re.sub(r"(?<=: )'([^']*)'|(?<=-> )'([^']*)'", lambda it: it[1] or it[2], text).removesuffix(" -> None")
    yield from ("```python", f"{name}{text}", "```", "", inspect.getdoc(method) or "", "")


def _class(kind: type) -> Iterator[str]:
    yield from ("", f"## {kind.__name__}", "", inspect.getdoc(kind) or "", "")
    fields = [it.name for it in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    if typing.is_typeddict(kind):
        fields = list(kind.__annotations__)
    if fields:
        yield from ("Fields: " + ", ".join(f"`{it}`" for it in fields) + ".", "")


def _commands() -> Iterator[str]:
    context = click.Context(
        cli, info_name="sandbox", max_content_width=100, terminal_width=100, **cli.context_settings
    )
    yield from ("", "## The command sandbox", "", "```text", cli.get_help(context), "```")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, info_name=name, parent=context, max_content_width=100, terminal_width=100)
        yield from ("", f"### sandbox {name}", "", "```text", command.get_help(inner), "```")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
