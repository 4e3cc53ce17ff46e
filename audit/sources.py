"""The tables that seals cover, and the SQL that hashes their rows.

Postgres computes the hashes, so neither sealing nor verification moves the history through this process. Values are
hashed as jsonb's text, in UTC, which does not depend on the session's settings.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models

from audit.models import Act, ExecutionPart, PurgeRecord, ShownSecret
from audit.models.changes import EVENTS
from audit.models.people import Login
from executions.egress.models import EgressRequest
from executions.models import Artifact, Execution, InputFile
from runtimes.models import Network

Columns = dict[str, list[str]]

PARTS = ("metadata", "code", "output", "artifacts")
# Large columns, which have their own hashes and can be purged separately, with their values after a purge. The triggers
# have the same values: audit_blank() in migrations/guards.sql.
BLANK: dict[str, dict[str, Any]] = {
    ExecutionPart.CODE: {"code": "", "arguments": "{}", "stdin": "", "argv": [], "variables": {}},
    ExecutionPart.OUTPUT: {"stdout": "", "stderr": "", "result": None},
}
# Tables whose rows belong to an execution and are hashed with it.
BESIDE: dict[str, type[models.Model]] = {"artifacts": Artifact, "inputs": InputFile, "requests": EgressRequest}
# The first seals do not cover these.
LATER = {"requests", "facts"}
# The name under which a seal lists the columns of executions that its leaves hold as values, beside the hashes.
FACTS = "facts"
NOTHING = hashlib.sha256(b"").digest()
# jsonb_build_array() takes at most 100 arguments.
CHUNK = 50
NULL = b"\0" * 32


# Tables of the trail whose rows are not changed: each row is what happened.
GROWING = (Act, Login, ShownSecret)


def columns_of(model: type[models.Model]) -> list[str]:
    # Generated columns are computed from the others and need no hash.
    fields = model._meta.concrete_fields
    return [f.column for f in fields if f.column and not isinstance(f, models.GeneratedField)]


@dataclass(frozen=True)
class Source:
    """A table whose rows are sealed when they are final. `final` and `ended` are SQL expressions of the row `t`."""

    model: type[models.Model]
    final: str = "TRUE"
    ended: str = "NULL::timestamptz"  # the time at which the row became final, according to the row

    # SQL for the values that the leaf keeps of the row: its client and when it ended.
    facts: str = "NULL::bigint, NULL::timestamptz"

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    @property
    def noun(self) -> str:
        """Return what its rows are called, in the plural: of the trail, changes of what they are about."""
        tracked = getattr(self.model, "pgh_tracked_model", None)
        if tracked is None:
            return str(self.model._meta.verbose_name_plural)
        return (
            str(tracked._meta.verbose_name_plural)
            if tracked in GROWING
            else f"changes of {tracked._meta.verbose_name_plural}"
        )

    @property
    def key(self) -> str:
        return str(self.model._meta.pk.column)

    def join(self, row_id: str) -> str:
        """Return the SQL condition that joins a leaf to its row `t` by the index of the primary key."""
        kind = "uuid" if isinstance(self.model._meta.pk, models.UUIDField) else "bigint"
        return f't."{self.key}" = {row_id}::{kind}'

    def columns(self) -> Columns:
        return {"metadata": columns_of(self.model)}

    def hashes(self, columns: Columns) -> list[str]:
        """Return SQL expressions for the hashes of the parts of row `t`, in the order of PARTS."""
        return [_row_hash("t", columns["metadata"]), "NULL::bytea", "NULL::bytea", "NULL::bytea"]


class ExecutionSource(Source):
    def columns(self) -> Columns:
        large = [column for blank in BLANK.values() for column in blank]
        return {
            "metadata": [column for column in columns_of(Execution) if column not in large],
            "code": list(BLANK[ExecutionPart.CODE]),
            "output": list(BLANK[ExecutionPart.OUTPUT]),
            **{
                name: [column for column in columns_of(model) if column not in ("content", "execution_id")]
                for name, model in BESIDE.items()
            },
            FACTS: ["client_id", "finished_at"],
        }

    def hashes(self, columns: Columns) -> list[str]:
        metadata = _row_hash("t", columns["metadata"])
        if "requests" in columns:
            # Executions without egress have no requests: skip the subquery.
            beside = f"sha256({metadata} || {_hash_beside('requests', columns)})"
            metadata = f"CASE WHEN t.network = '{Network.NONE}' THEN {metadata} ELSE {beside} END"
        return [
            metadata,
            f"sha256({_large_hash(columns['code'])} || {_hash_beside('inputs', columns)})",
            _large_hash(columns["output"]),
            _hash_beside("artifacts", columns),
        ]


EXECUTIONS = ExecutionSource(
    Execution, final="t.finished_at IS NOT NULL", ended="t.finished_at", facts="t.client_id, t.finished_at"
)
SOURCES: tuple[Source, ...] = (
    EXECUTIONS,
    *(Source(event, ended="t.pgh_created_at") for event in EVENTS),
    Source(PurgeRecord, ended="t.created_at"),
)


def _row_hash(alias: str, columns: list[str]) -> str:
    names = [f'{alias}."{column}"' for column in columns]
    chunks = [", ".join(names[i : i + CHUNK]) for i in range(0, len(names), CHUNK)]
    arrays = " || ".join(f"jsonb_build_array({chunk})" for chunk in chunks)
    return f"sha256(convert_to(({arrays})::text, 'UTF8'))"


def _large_hash(columns: list[str]) -> str:
    """Return SQL that hashes each column separately, because a jsonb value is limited to 256 MB."""
    null = f"'\\x{NULL.hex()}'::bytea"
    hashes = " || ".join(f"coalesce(sha256(convert_to(t.\"{name}\"::text, 'UTF8')), {null})" for name in columns)
    return f"sha256({hashes})"


def _hash_beside(name: str, columns: Columns) -> str:
    row = _row_hash("b", columns[name])
    if any(field.name == "content" for field in BESIDE[name]._meta.concrete_fields):
        row += " || sha256(b.content)"
    return (
        f"(SELECT sha256(coalesce(string_agg({row}, ''::bytea ORDER BY b.id), ''::bytea))"
        f" FROM {BESIDE[name]._meta.db_table} b WHERE b.execution_id = t.id)"
    )


def blank_hash(part: str, columns: Iterable[str]) -> bytes:
    """Return the hash that a part has after a legitimate purge."""
    if part == ExecutionPart.ARTIFACTS:
        return NOTHING
    values = [BLANK[part][column] for column in columns]
    texts = [value if isinstance(value, str) or value is None else json.dumps(value) for value in values]
    hashes = (NULL if text is None else hashlib.sha256(text.encode()).digest() for text in texts)
    blank = hashlib.sha256(b"".join(hashes)).digest()
    return hashlib.sha256(blank + NOTHING).digest() if part == ExecutionPart.CODE else blank
