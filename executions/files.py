"""Checks the files of a request: their paths in /workspace, and which of them is the program."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox_platform.kit.errors import InvalidField

LONGEST_PATH = 255
LONGEST_NAME = 200  # bytes in UTF-8; gVisor's tmpfs takes 255
DEEPEST = 20
ARTIFACTS = "artifacts"  # the runner creates this folder before the files are written


def checked_path(path: str, field: str) -> str:
    """Return the path unchanged. Raises InvalidField if it could name anything but a file below /workspace."""
    parts = path.split("/")
    problem = None
    # First, because surrogates cannot be encoded.
    if "\\" in path or not path.isprintable():
        problem = "has a backslash, or a character that is not printable"
    elif len(path.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in parts):
        problem = f"is longer than {LONGEST_PATH} bytes, or one of its parts is longer than {LONGEST_NAME}"
    elif len(parts) > DEEPEST:
        problem = f"is nested deeper than {DEEPEST} folders"
    elif path.startswith("/"):
        problem = "is absolute"
    elif "" in parts or "." in parts or ".." in parts:
        problem = "has an empty part, a '.' or a '..'"
    elif path == ARTIFACTS:
        problem = "is the folder for artifacts"
    if problem:
        raise InvalidField(
            field, f"The path {path[:100]!r} {problem}.", "Name a file below /workspace, like data/in.csv."
        )
    return path


def contents(files: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the contents by path. Raises InvalidField."""
    by_path: dict[str, bytes] = {}
    for index, file in enumerate(files):
        field = f"files[{index}]"
        path = checked_path(file["path"], f"{field}.path")
        if path in by_path:
            raise InvalidField(f"{field}.path", f"The path {path!r} is given twice.", "Send each file once.")
        by_path[path] = _content(file, field)
    return by_path


def _content(file: Mapping[str, Any], field: str) -> bytes:
    if ("content" in file) == ("content_base64" in file):
        raise InvalidField(field, "A file needs either content or content_base64.", "Send exactly one of them.")
    if "content" in file:
        try:
            return str(file["content"]).encode()
        except UnicodeEncodeError as e:
            raise InvalidField(f"{field}.content", "Has a lone surrogate.", "Send bytes as content_base64.") from e
    try:
        return base64.b64decode(file["content_base64"].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as e:
        raise InvalidField(f"{field}.content_base64", f"Not base64: {e}", "Encode the file with padding.") from e


def refuse_clashes(paths: Iterable[str], field: str = "files") -> None:
    """Raise InvalidField if a path is also the folder of another one."""
    known = set(paths)
    for path in known:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if (folder := "/".join(parts[:depth])) in known:
                raise InvalidField(field, f"{folder!r} is both a file and a folder.", "Rename one of them.")


def program(
    code: str | None, files: dict[str, bytes], entry: str | None, source_file: str
) -> tuple[str, str, dict[str, bytes]]:
    """Return the program's path, its text, and the other files by path. Raises InvalidField."""
    if code is not None:
        if entry is not None:
            raise InvalidField(
                "entry", "entry names a file, but the program was sent as code.", "Send either code or entry."
            )
        if source_file in files:
            raise InvalidField(
                "files", f"{source_file!r} is the path of the code.", "Rename the file, or leave out code."
            )
        path, beside = source_file, files
    else:
        path = _entry(files, entry, source_file)
        beside = {name: content for name, content in files.items() if name != path}
        code = _text(files[path], path)
    refuse_clashes([path, *beside])
    return path, code, beside


def _entry(files: dict[str, bytes], entry: str | None, source_file: str) -> str:
    if entry is not None:
        if entry not in files:
            raise InvalidField("entry", f"{entry[:100]!r} is not among the files.", "Name one of files[].path.")
        return entry
    if not files:
        raise InvalidField("code", "The request has no program.", "Send code or files.")
    if len(files) == 1:
        return next(iter(files))
    if source_file in files:
        return source_file
    raise InvalidField(
        "entry", f"There are several files, and none is {source_file}.", "Name the program's file in entry."
    )


def _text(content: bytes, path: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as e:
        raise InvalidField("files", f"The program {path!r} is not UTF-8.", "Send the source in UTF-8.") from e
    if "\0" in text:
        raise InvalidField("files", f"The program {path!r} contains NUL.", "Send the source as text.")
    return text
