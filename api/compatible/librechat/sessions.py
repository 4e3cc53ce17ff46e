"""Sessions of LibreChat, and their files: a session is an execution of the client, and holds what it uploaded or left.

An upload is an execution, too: of an empty program, with the files as its input. So the quotas, the retention, the
masking and the trail hold for uploaded files as for all others, and there is no second place for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.db.models import F, QuerySet
from django.db.models.functions import Length
from django.http import Http404

from api.compatible.librechat.ids import file_id, pk_of, session_of
from api.v1.answers import content_type
from api.v1.problems import Malformed, TooLarge
from clients.models import Client
from executions.files import checked_path
from executions.models import Execution
from redaction import services as redaction
from sandbox_platform.kit import formats
from sandbox_platform.kit.units import exact

# Labels of an execution that holds uploaded files.
UPLOAD = {"librechat": "upload"}
MOST_FILES = 100


@dataclass(frozen=True)
class File:
    session: str
    id: str
    pk: int
    name: str
    size: int
    at: datetime

    @property
    def object_name(self) -> str:
        """The file's name in LibreChat's store. Clients split it."""
        return f"{self.session}/{self.id}{PurePosixPath(self.name).suffix}"


class Session:
    """An execution of the client, in this format."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.id = session_of(execution.pk)
        self._is_upload = UPLOAD.items() <= execution.labels.items()

    @property
    def _rows(self) -> QuerySet[Any]:
        return self.execution.input_files.all() if self._is_upload else self.execution.artifacts.all()

    def files(self) -> list[File]:
        kind, name = ("input", "path") if self._is_upload else ("artifact", "name")
        rows = list(self._rows.values_list("pk", F(name), Length("content")))
        names = redaction.shown_names(self.execution, [row[1] for row in rows])
        at = self.execution.finished_at or self.execution.queued_at
        return [
            File(self.id, file_id(kind, pk), pk, shown, size, at)
            for (pk, _, size), shown in zip(rows, names, strict=True)
        ]

    def file(self, wanted: str) -> File:
        """Return the file with this id. Raises Http404."""
        found = next((file for file in self.files() if file.id == wanted), None)
        if found is None:
            raise Http404
        return found

    def content(self, file: File) -> bytes:
        """Return the file's bytes. Raises Http404 if it was purged meanwhile."""
        content = self._rows.filter(pk=file.pk).values_list("content", flat=True).first()
        if content is None:
            raise Http404
        return bytes(content)


def session(client: Client | None, text: str) -> Session:
    """Return the client's session. Raises Http404, also for that of another client."""
    pk = pk_of(text)
    mine = Execution.objects.filter(client=client, endpoint=formats.LIBRECHAT.name)
    execution = mine.only("labels", "client", "queued_at", "finished_at").filter(pk=pk).first() if pk else None
    if execution is None:
        raise Http404
    return Session(execution)


def named(client: Client | None, references: Any) -> dict[str, tuple[Session, File]]:
    """Return the files of an exec request by path. Of two with the same name, the last one is taken.

    `references`: objects with a file's `id`, its `session_id` or `storage_session_id`, and its `name` in this run.

    Raises Malformed, also for a file that the client does not have, InvalidField for a path, and TooLarge.
    """
    found = {checked_path(name, "files"): (own, file) for name, own, file in _found(client, references)}
    size, most = sum(file.size for _, file in found.values()), settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if size > most:
        raise TooLarge(
            f"The files have {size:,} bytes; the limit is {exact(most, 'bytes')} (SANDBOX_MAX_REQUEST).",
            remedy="Name fewer of them.",
        )
    return found


def contents(found: Mapping[str, tuple[Session, File]]) -> dict[str, bytes]:
    return {name: own.content(file) for name, (own, file) in found.items()}


def _found(client: Client | None, references: Any) -> Iterable[tuple[str, Session, File]]:
    if references is None:
        return
    if not isinstance(references, list) or len(references) > MOST_FILES:
        raise Malformed(f"files must be an array of at most {MOST_FILES} files")
    known: dict[str, tuple[Session, dict[str, File]]] = {}
    for index, reference in enumerate(references):
        text, wanted, name = _parts(reference, index)
        if text not in known:
            known[text] = _listed(client, text, index)
        own, files = known[text]
        if wanted not in files:
            raise _missing(index)
        yield name or files[wanted].name, own, files[wanted]


def _parts(reference: Any, index: int) -> tuple[str, str, str]:
    given = reference if isinstance(reference, dict) else {}
    text, wanted = given.get("storage_session_id") or given.get("session_id"), given.get("id")
    name = given.get("name") or ""
    if not (isinstance(text, str) and isinstance(wanted, str) and isinstance(name, str)):
        raise Malformed(f"files[{index}] needs an id, a session_id and a name, as texts")
    return text, wanted, name.removeprefix("/mnt/data/")


def _listed(client: Client | None, text: str, index: int) -> tuple[Session, dict[str, File]]:
    try:
        own = session(client, text)
    except Http404 as e:
        raise _missing(index) from e
    return own, {file.id: file for file in own.files()}


def _missing(index: int) -> Malformed:
    return Malformed(f"files[{index}] was not found: it may have expired. Upload it again")


def described(file: File) -> dict[str, Any]:
    """Return the file as lists of a session's files have it."""
    kind = content_type(file.name)
    return {
        "name": file.object_name,
        "id": file.id,
        "session_id": file.session,
        "storage_session_id": file.session,
        "size": file.size,
        "lastModified": file.at.isoformat(),
        "etag": file.id,
        "contentType": kind,
        "metadata": {"content-type": kind, "original-filename": file.name},
    }
