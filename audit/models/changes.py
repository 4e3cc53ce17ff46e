"""Every change of what decides how programs run and who may run them, written by triggers in Postgres.

To watch one more model: an event class here, and for its table in a migration the triggers that `audit_watch` in
migrations/guards.sql makes.
"""

from typing import Any

import pghistory
import pghistory.models
from django.db import models

from audit.models.retention import RetentionPolicy
from builds.models import RuntimeBuild
from clients.models import Client, Token
from executions.egress.models import EgressRule
from redaction.models import RedactionPattern
from runtimes.models import Runtime
from seccomp_profiles.models import SeccompActivation, SeccompProfile, SeccompRevision

INSERT, UPDATE, DELETE = "insert", "update", "delete"
# What was there when the watching began.
BASELINE = "baseline"


def _events_of(
    model: type[models.Model], *, unwatched: tuple[str, ...] = (), left_out: tuple[str, ...] = ()
) -> Any:
    """A snapshot a change: the row after it, or, of a deletion, before it. No foreign keys: history must not
    keep anybody from deleting, nor go with what was deleted. What is `left_out` is no part of it, nor watched."""
    return pghistory.create_event_model(
        model,
        pghistory.InsertEvent(INSERT),
        pghistory.UpdateEvent(UPDATE, condition=pghistory.AnyChange(exclude=[*unwatched, *left_out])),
        pghistory.DeleteEvent(DELETE),
        obj_field=pghistory.ObjForeignKey(db_constraint=False, related_name="+"),
        context_field=pghistory.ContextJSONField(),
        context_id_field=None,  # type: ignore[arg-type]
        app_label="audit",
        exclude=list(left_out),
    )


class RuntimeEvent(_events_of(Runtime)):  # type: ignore[misc]
    pass


class SeccompProfileEvent(_events_of(SeccompProfile)):  # type: ignore[misc]
    # Of the time when a profile had no revisions; sealed, therefore here for ever.
    rules = models.JSONField(null=True)


class SeccompRevisionEvent(_events_of(SeccompRevision)):  # type: ignore[misc]
    pass


class SeccompActivationEvent(_events_of(SeccompActivation)):  # type: ignore[misc]
    pass


class ClientEvent(_events_of(Client)):  # type: ignore[misc]
    pass


class TokenEvent(_events_of(Token, unwatched=("last_used_at",))):  # type: ignore[misc]
    """Holds a fingerprint of the token's hash, not the hash: see `audit_watch` in migrations/guards.sql."""


class RetentionPolicyEvent(_events_of(RetentionPolicy)):  # type: ignore[misc]
    pass


class RedactionPatternEvent(_events_of(RedactionPattern)):  # type: ignore[misc]
    pass


class RuntimeBuildEvent(_events_of(RuntimeBuild, left_out=("log", "progress", "worker_backend"))):  # type: ignore[misc]
    pass


class EgressRuleEvent(_events_of(EgressRule)):  # type: ignore[misc]
    pass


EVENTS = (
    RuntimeEvent,
    RuntimeBuildEvent,
    SeccompProfileEvent,
    SeccompRevisionEvent,
    SeccompActivationEvent,
    ClientEvent,
    EgressRuleEvent,
    TokenEvent,
    RetentionPolicyEvent,
    RedactionPatternEvent,
)


class TrailEntry(pghistory.models.Events):
    """All changes of all watched models in one list, each beside the one before it."""

    actor = pghistory.ProxyField("pgh_context__actor", models.TextField(null=True))
    address = pghistory.ProxyField("pgh_context__address", models.TextField(null=True))
    url = pghistory.ProxyField("pgh_context__url", models.TextField(null=True))

    class Meta:
        proxy = True
        verbose_name = "change"
        verbose_name_plural = "audit trail"

    def __str__(self) -> str:
        return f"{self.what}, {self.pgh_label}"

    @property
    def what(self) -> str:
        data = self.pgh_data or {}
        name = data.get("slug") or data.get("name") or data.get("domain") or self.pgh_obj_id
        return f"{self.pgh_obj_model.rpartition('.')[2]} {name}"

    @property
    def who(self) -> str:
        """Whom the web tier knew; otherwise the database's own account of the session."""
        if self.actor:
            return str(self.actor)
        session = self.session
        return f"{session.get('role', 'unknown')} ({session.get('application') or 'unnamed session'})"

    @property
    def where(self) -> str:
        return str(self.address or self.session.get("address") or "local")

    @property
    def session(self) -> dict[str, Any]:
        session: dict[str, Any] = (self.pgh_context or {}).get("database", {})
        return session

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Before and after, by column."""
        data = {name: value for name, value in (self.pgh_data or {}).items() if not name.startswith("pgh_")}
        match self.pgh_label:
            case "update":
                return {name: (old, new) for name, (old, new) in (self.pgh_diff or {}).items()}
            case "delete":
                return {name: (value, None) for name, value in data.items()}
            case _:
                return {name: (None, value) for name, value in data.items()}
