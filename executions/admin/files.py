"""The files of an execution on a page: its input and its artifacts, each with a download and perhaps a preview."""

from dataclasses import dataclass

from django.db.models import BinaryField, Func
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from executions import export
from executions.admin import previews
from executions.models import Execution
from executions.sizes import Bytes
from redaction import services as redaction
from sandbox_platform.kit.downloads import as_attachment
from sandbox_platform.kit.units import format_bytes

# Bytes from which a file's kind and its number of lines are told.
HEAD = 4096
LINE_PX, LEAST_PX, MOST_PX = 24, 72, 420


class Head(Func):
    """The first bytes of a file."""

    template = f"substring(%(expressions)s from 1 for {HEAD})"
    output_field = BinaryField()


@dataclass(frozen=True)
class File:
    """`preview`: a URL, or "". `height`: that of the preview's frame, in pixels."""

    name: str
    size: str
    address: str
    preview: str = ""
    image: bool = False
    pdf: bool = False
    height: int = MOST_PX

    @classmethod
    def of(cls, kind: str, execution: Execution, key: int, name: str, size: int, head: bytes) -> "File":
        media_type = previews.kind_of(name, head)
        arguments = [execution.pk, key]
        return cls(
            name=name,
            size=format_bytes(size),
            address=reverse(f"admin:executions_execution_{kind}", args=arguments),
            preview=reverse(f"admin:executions_execution_{kind}_preview", args=arguments) if media_type else "",
            image=media_type.startswith("image/"),
            pdf=media_type == previews.PDF,
            height=MOST_PX if size > HEAD else min(MOST_PX, LEAST_PX + LINE_PX * head.count(b"\n")),
        )


def artifacts(execution: Execution) -> list[File]:
    if not execution.artifact_count:
        return []
    rows = execution.artifacts.annotate(head=Head("content")).values_list("pk", "name", "size", "head")
    return [File.of("artifact", execution, pk, name, size, bytes(head)) for pk, name, size, head in rows]


def inputs(execution: Execution) -> list[File]:
    if not execution.input_count:
        return []
    files = execution.input_files.annotate(head=Head("content"), size=Bytes("content"))
    rows = list(files.values_list("pk", "path", "size", "head"))
    names = redaction.shown_names(execution, [path for _, path, _, _ in rows])
    return [
        File.of("input", execution, pk, name, size, bytes(head))
        for name, (pk, _, size, head) in zip(names, rows, strict=True)
    ]


def send(
    request: HttpRequest, execution: Execution, kind: str, name: str, content: bytes, *, preview: bool = False
) -> HttpResponse:
    """Return a text or file of an execution, as a download or a preview.

    All that the console gives out of an execution, beside its pages and exports, passes here. The trail records
    downloads. `kind`: "text", "input" or "artifact".
    """
    if preview:
        return previews.preview(request, name, content)
    export.record_download(execution, name if kind == "text" else f"{kind} {name}", len(content), http=request)
    return as_attachment(f"{execution.pk}-{name}.txt" if kind == "text" else name, content)
