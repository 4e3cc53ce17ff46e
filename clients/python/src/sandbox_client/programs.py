"""A program as callers describe it, and as the API wants it."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict

from sandbox_client.errors import InvalidArgument

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack

__all__ = ["Content", "Files", "Limits", "Program", "Unpack", "body_of", "files_of"]

Content = str | bytes | os.PathLike[str]
"""A file's text, its bytes, or the path of a local file (a `Path`)."""
Files = Mapping[str, Content] | Iterable[str | os.PathLike[str]]
"""Contents by their path in the sandbox; or local files, which keep their relative paths."""


class Limits(TypedDict, total=False):
    """Limits of one run. Each is at most the runtime's, which applies to what is left out."""

    wall_time_ms: int
    cpu_time_ms: int
    memory_bytes: int
    output_bytes: int
    result_bytes: int
    artifact_count: int
    artifact_bytes: int


class Program(TypedDict, total=False):
    """A program to run: the named arguments of `run` and `submit`, and the entries of a batch."""

    code: str | None
    """The text of the program, unless it is one of `files`."""
    runtime: str
    """Slug or alias of the language; by default `python`."""
    mode: str
    """`script` runs from top to bottom. `function` calls `main(**arguments)` and stores what it returns."""
    files: Files
    """Files in /workspace: contents by path, or paths of local files."""
    entry: str
    """Path of the program among `files`, if there are several."""
    arguments: Mapping[str, Any]
    """Arguments of `main()`, in mode `function`."""
    stdin: str
    """What the program reads from its standard input."""
    argv: Sequence[str]
    """Arguments on the program's command line."""
    environment: Mapping[str, str]
    """Environment variables. They are stored with the execution."""
    limits: Limits
    """Limits of the run, such as `{"wall_time_ms": 2000}`."""
    labels: Mapping[str, str]
    """Names and values by which `search` finds the execution."""
    callback_url: str
    """Receives a POST when the execution ends."""


def body_of(program: Program) -> dict[str, Any]:
    """Return the program as the API wants it; reads the local files that it names."""
    body: dict[str, Any] = {name: value for name, value in program.items() if value is not None}
    body.setdefault("runtime", "python")
    if "files" in body:
        body["files"] = [_file(path, content) for path, content in files_of(body["files"]).items()]
    return body


def files_of(files: Files) -> dict[str, bytes]:
    """Return the content of each file by its path in the sandbox. Raises InvalidArgument if two have the same."""
    if isinstance(files, (str, bytes, os.PathLike)):
        raise TypeError("files is a mapping of contents by path, or a list of local paths")
    if isinstance(files, Mapping):
        return {path: _content(content) for path, content in files.items()}
    found: dict[str, bytes] = {}
    for local in map(Path, files):
        path, content = _sandbox_path(local), local.read_bytes()
        if found.setdefault(path, content) != content:
            raise InvalidArgument(f"two of the files would be {path} in the sandbox: name them in a mapping")
    return found


def _content(content: Content) -> bytes:
    if isinstance(content, str):
        return content.encode()
    return content if isinstance(content, bytes) else Path(content).read_bytes()


def _sandbox_path(path: Path) -> str:
    """Return the relative path as it is, and only the name of a path that leads elsewhere."""
    if path.is_absolute() or ".." in path.parts:
        return path.name
    return str(PurePosixPath(*path.parts))


def _file(path: str, content: bytes) -> dict[str, str]:
    """Return a file as JSON: as text where that is possible, because base64 is a third longer."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return {"path": path, "content_base64": base64.b64encode(content).decode()}
    return {"path": path, "content": text}
