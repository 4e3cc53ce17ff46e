"""Files that a program left in `artifacts/`, shown inline by notebooks."""

from __future__ import annotations

import base64
import csv
import html
import io
from dataclasses import dataclass, field
from pathlib import Path

# What a browser draws without running anything. SVG may hold scripts, so it is never shown.
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
SHOWN_ROWS = 20
SHOWN_CHARACTERS = 10_000


@dataclass(frozen=True)
class Artifact:
    """One file, with its content unless only the list was asked for."""

    name: str
    size: int
    content_type: str
    content: bytes | None = field(default=None, repr=False)

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

    def save(self, folder: str | Path = ".") -> Path:
        """Write it into the folder, under its own name, and return the path."""
        # A name comes from a stranger's program: it never leads out of the folder.
        name = Path(self.name.replace("\\", "/")).name
        if name in ("", ".", ".."):
            raise ValueError(f"not a file's name: {self.name!r}")
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._loaded)
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
            return f"<p>{caption}</p><pre>{html.escape(self.text[:SHOWN_CHARACTERS])}</pre>"
        return f"<p>{caption}</p>"


class Artifacts(tuple[Artifact, ...]):
    """The artifacts of an execution, in order; a notebook shows all of them."""

    def named(self, name: str) -> Artifact:
        """Return the artifact with this name. Raises KeyError if there is none."""
        for artifact in self:
            if artifact.name == name:
                return artifact
        raise KeyError(name)

    def save(self, folder: str | Path = ".") -> list[Path]:
        """Write all of them into the folder and return their paths."""
        return [artifact.save(folder) for artifact in self]

    def _repr_html_(self) -> str:
        return "".join(artifact._html() for artifact in self) or "<p>No artifacts.</p>"


def _table(text: str) -> str:
    rows = csv.reader(io.StringIO(text, newline=""))
    shown: list[str] = []
    try:
        for row in rows:
            if len(shown) == SHOWN_ROWS:
                shown.append("<tr><td>…</td></tr>")
                break
            shown.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
    except csv.Error:
        return f"<pre>{html.escape(text[:SHOWN_CHARACTERS])}</pre>"
    return f"<table>{''.join(shown)}</table>"
