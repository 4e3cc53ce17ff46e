"""Files that a program left in `artifacts/`, shown inline by notebooks."""

from __future__ import annotations

import base64
import csv
import errno
import html
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What a browser draws without running anything. SVG may hold scripts, so it is never shown.
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
SHOWN_ROWS = 20
SHOWN_CELLS = 50
SHOWN_IN_CELL = 200
SHOWN_CHARACTERS = 10_000


@dataclass(frozen=True)
class Artifact:
    """One file, with its content unless only the list was asked for."""

    name: str
    size: int
    content_type: str
    content: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Artifact:
        """Return the artifact of the API's JSON, without its content."""
        return cls(str(raw["name"]), raw["size"], str(raw["content_type"]))

    @property
    def kind(self) -> str:
        """The content type without parameters."""
        return self.content_type.partition(";")[0].strip()

    @property
    def text(self) -> str:
        """The content as text."""
        return self._loaded.decode(errors="replace")

    @property
    def _loaded(self) -> bytes:
        if self.content is None:
            raise ValueError(f"{self.name} was only listed: call artifacts() without content=False")
        return self.content

    @property
    def _file_name(self) -> str:
        # A name comes from a stranger's program: it never leads out of the folder.
        name = Path(self.name.replace("\\", "/")).name
        if name in ("", ".", ".."):
            raise ValueError(f"not a file's name: {self.name!r}")
        return name

    def save(self, folder: str | Path = ".", *, overwrite: bool = False) -> Path:
        """Write it into the folder, under its own name, and return the path.

        Raises FileExistsError if there is such a file, unless it may be overwritten. A link is replaced, not followed.
        """
        path, content = Path(folder) / self._file_name, self._loaded
        path.parent.mkdir(parents=True, exist_ok=True)
        if overwrite:
            path.unlink(missing_ok=True)
        with path.open("xb") as file:
            file.write(content)
        return path

    def _repr_png_(self) -> bytes | None:
        return self.content if self.kind == "image/png" else None

    def _repr_jpeg_(self) -> bytes | None:
        return self.content if self.kind == "image/jpeg" else None

    def _repr_html_(self) -> str | None:
        """Return other pictures, tables and texts as HTML in which a stranger's text is escaped."""
        if self.content is None or self.kind in ("image/png", "image/jpeg"):
            return None
        return self._html()

    def _html(self) -> str:
        caption = html.escape(f"{self.name} ({self.size:,} bytes)")
        if self.content is None:
            return f"<p>{caption}</p>"
        if self.kind in PICTURES:
            data = base64.b64encode(self.content).decode()
            return f'<img alt="{caption}" src="data:{self.kind};base64,{data}">'
        if self.kind == "text/csv":
            return f"<p>{caption}</p>{_table(self.text)}"
        if self.kind.startswith("text/") or self.kind == "application/json":
            return f"<p>{caption}</p>{preformatted(self.text)}"
        return f"<p>{caption}</p>"


class Artifacts(tuple[Artifact, ...]):
    """The artifacts of an execution, in order; a notebook shows all of them."""

    def named(self, name: str) -> Artifact:
        """Return the artifact with this name. Raises KeyError if there is none."""
        for artifact in self:
            if artifact.name == name:
                return artifact
        raise KeyError(name)

    def save(self, folder: str | Path = ".", *, overwrite: bool = False) -> list[Path]:
        """Write all of them into the folder and return their paths.

        Raises FileExistsError if there is a file of such a name, unless it may be overwritten, and if two artifacts
        would have the same name there.
        """
        by_name: dict[str, str] = {}
        for artifact in self:
            earlier = by_name.setdefault(artifact._file_name, artifact.name)
            if earlier != artifact.name:
                raise FileExistsError(
                    f"{earlier!r} and {artifact.name!r} would be the same file: save one of them"
                )
        if not overwrite and (taken := [name for name in by_name if os.path.lexists(Path(folder) / name)]):
            raise FileExistsError(errno.EEXIST, "there is such a file", str(Path(folder) / taken[0]))
        return [artifact.save(folder, overwrite=overwrite) for artifact in self]

    def _repr_html_(self) -> str:
        return "".join(artifact._html() for artifact in self) or "<p>No artifacts.</p>"


def preformatted(text: str) -> str:
    """Return the beginning of a stranger's text as HTML."""
    left_out = len(text) - SHOWN_CHARACTERS
    rest = f"\n… {left_out:,} more characters" if left_out > 0 else ""
    return f"<pre>{html.escape(text[:SHOWN_CHARACTERS])}{rest}</pre>"


def _table(text: str) -> str:
    rows = csv.reader(io.StringIO(text, newline=""))
    shown: list[str] = []
    left = SHOWN_CHARACTERS
    try:
        for row in rows:
            if len(shown) == SHOWN_ROWS or left <= 0:
                shown.append("<tr><td>…</td></tr>")
                break
            cells = [
                cell if len(cell) <= SHOWN_IN_CELL else f"{cell[:SHOWN_IN_CELL]}…" for cell in row[:SHOWN_CELLS]
            ]
            cells += ["…"] * (len(row) > SHOWN_CELLS)
            left -= sum(map(len, cells))
            shown.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    except csv.Error:
        return preformatted(text)
    return f"<table>{''.join(shown)}</table>"
