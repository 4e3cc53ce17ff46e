"""The audit trail: every change of the configuration and the access rights, written by triggers in Postgres.

To watch another model, add an event class here, and add the triggers that `audit_watch` in migrations/guards.sql makes
for its table in a migration.
"""

from typing import Any

import pghistory
import pghistory.models
from django.db import models

from audit.models.disclosures import ShownSecret
from audit.models.people import Login, Person, PersonPermission, PersonRole, Role, RolePermission
from audit.models.retention import RetentionPolicy
from builds.models import RuntimeBuild
from clients.models import Client, Token
from executions.egress.models import EgressRule
from redaction.models import RedactionPattern
from runtimes.models import Runtime
from seccomp_profiles.models import SeccompActivation, SeccompProfile, SeccompRevision

INSERT, UPDATE, DELETE = "insert", "update", "delete"
# A row that existed when recording began.
BASELINE = "baseline"
LABELS = {INSERT: "created", UPDATE: "changed", DELETE: "deleted", BASELINE: "existed when recording began"}


def _events_of(
    model: type[models.Model], *, unwatched: tuple[str, ...] = (), left_out: tuple[str, ...] = ()
) -> Any:
    """Return the event model of `model`: one snapshot per change, taken after it, or before it for a deletion.

    It has no foreign keys: the history must neither block deletions nor be deleted with the row. A change of only
    `unwatched` columns writes no event; `left_out` columns are not watched and not part of the snapshot.
    """
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
    # Used before profiles had revisions. Sealed rows contain it, so the column must stay.
    rules = models.JSONField(null=True)


class SeccompRevisionEvent(_events_of(SeccompRevision)):  # type: ignore[misc]
    pass


class SeccompActivationEvent(_events_of(SeccompActivation)):  # type: ignore[misc]
    pass


class ClientEvent(_events_of(Client)):  # type: ignore[misc]
    pass


class TokenEvent(_events_of(Token, unwatched=("last_used_at",))):  # type: ignore[misc]
    """Stores a fingerprint of the token's hash instead of the hash; see `audit_watch` in migrations/guards.sql."""


class RetentionPolicyEvent(_events_of(RetentionPolicy)):  # type: ignore[misc]
    pass


class RedactionPatternEvent(_events_of(RedactionPattern)):  # type: ignore[misc]
    pass


class RuntimeBuildEvent(_events_of(RuntimeBuild, left_out=("log", "progress", "worker_backend"))):  # type: ignore[misc]
    pass


class EgressRuleEvent(_events_of(EgressRule)):  # type: ignore[misc]
    pass


class PersonEvent(_events_of(Person, unwatched=("last_login",))):  # type: ignore[misc]
    """Stores a fingerprint of the password's hash instead of the hash."""


class PersonRoleEvent(_events_of(PersonRole)):  # type: ignore[misc]
    pass


class PersonPermissionEvent(_events_of(PersonPermission)):  # type: ignore[misc]
    pass


class RoleEvent(_events_of(Role)):  # type: ignore[misc]
    pass


class RolePermissionEvent(_events_of(RolePermission)):  # type: ignore[misc]
    pass


class LoginEvent(_events_of(Login, left_out=("session_hash",))):  # type: ignore[misc]
    pass


class ShownSecretEvent(_events_of(ShownSecret)):  # type: ignore[misc]
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
    PersonEvent,
    PersonRoleEvent,
    PersonPermissionEvent,
    RoleEvent,
    RolePermissionEvent,
    LoginEvent,
    ShownSecretEvent,
)


class TrailEntry(pghistory.models.Events):
    """All changes of all watched models in one list, each with its difference from the previous one."""

    actor = pghistory.ProxyField("pgh_context__actor", models.TextField(null=True))
    address = pghistory.ProxyField("pgh_context__address", models.TextField(null=True))
    url = pghistory.ProxyField("pgh_context__url", models.TextField(null=True))

    class Meta:
        proxy = True
        verbose_name = "change"
        verbose_name_plural = "changes"

    def __str__(self) -> str:
        return f"{self.what} {LABELS.get(self.pgh_label, self.pgh_label)}"

    @property
    def what(self) -> str:
        data = self.pgh_data or {}
        name = (
            data.get("slug") or data.get("name") or data.get("domain") or data.get("username") or self.pgh_obj_id
        )
        return f"{self.pgh_obj_model.rpartition('.')[2]} {name}"

    @property
    def who(self) -> str:
        """Return the actor that the web tier recorded, else the database session's role and application name."""
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
        """Return (before, after) by column. `before` is None for an insert, `after` for a deletion."""
        data = {name: value for name, value in (self.pgh_data or {}).items() if not name.startswith("pgh_")}
        match self.pgh_label:
            case "update":
                return {name: (old, new) for name, (old, new) in (self.pgh_diff or {}).items()}
            case "delete":
                return {name: (value, None) for name, value in data.items()}
            case _:
                return {name: (None, value) for name, value in data.items()}
