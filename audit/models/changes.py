"""The audit trail: every change of the configuration and the access rights, written by triggers in Postgres.

To watch another model, add an event class here, and in a migration the triggers that `audit_watch` in
migrations/guards.sql makes for its table, and the index for searches (migrations/trail_indexes.sql).
"""

from typing import Any

import pghistory
import pghistory.models
from django.db import models

from alerts.models import Channel, Rule, Silence
from audit.models.acts import Act, Setting, values_of
from audit.models.disclosures import ShownSecret
from audit.models.people import Factor, Login, Person, PersonPermission, PersonRole, Role, RolePermission
from audit.models.retention import RetentionPolicy
from builds.models import RuntimeBuild
from clients.models import Client, Token
from executions.egress.models import EgressRule
from people.models import Identity
from redaction.models import RedactionPattern
from runtimes.models import Runtime
from seccomp_profiles.models import SeccompActivation, SeccompProfile, SeccompRevision
from usage.models import Price

INSERT, UPDATE, DELETE = "insert", "update", "delete"
# A row that existed when recording began.
BASELINE = "baseline"
# The columns that name a row to people, the first that it has.
NAMES = ("slug", "name", "domain", "username")
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
        # The trail is read by time, from all tables at once.
        meta={"indexes": [models.Index(fields=["pgh_created_at"], name="%(class)s_at_idx")]},
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


class PriceEvent(_events_of(Price)):  # type: ignore[misc]
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


class FactorEvent(_events_of(Factor, unwatched=("last_used_at",), left_out=("data",))):  # type: ignore[misc]
    """Has the kind of the factor and whose it is, and nothing of its secrets."""


class IdentityEvent(_events_of(Identity)):  # type: ignore[misc]
    pass


class ShownSecretEvent(_events_of(ShownSecret)):  # type: ignore[misc]
    pass


class ActEvent(_events_of(Act)):  # type: ignore[misc]
    pass


class SettingEvent(_events_of(Setting)):  # type: ignore[misc]
    """Stores a fingerprint of a secret's hash instead of the hash."""


class AlertRuleEvent(_events_of(Rule)):  # type: ignore[misc]
    pass


class AlertChannelEvent(_events_of(Channel)):  # type: ignore[misc]
    """Stores a fingerprint of the URL instead of the URL."""


class SilenceEvent(_events_of(Silence)):  # type: ignore[misc]
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
    PriceEvent,
    PersonEvent,
    PersonRoleEvent,
    PersonPermissionEvent,
    RoleEvent,
    RolePermissionEvent,
    LoginEvent,
    FactorEvent,
    IdentityEvent,
    ShownSecretEvent,
    ActEvent,
    SettingEvent,
    AlertRuleEvent,
    AlertChannelEvent,
    SilenceEvent,
)
# What the trail calls the rows that it watches, by model: the words of docs/glossary.md.
NOUNS = {event.pgh_tracked_model._meta.label: str(event.pgh_tracked_model._meta.verbose_name) for event in EVENTS}
# These name what somebody did rather than a row that changed.
ACT, SHOWN = Act._meta.label, ShownSecret._meta.label


def who_of(context: dict[str, Any] | None) -> str:
    """Return the actor that the web tier recorded, else the database session's role and application name."""
    if actor := (context or {}).get("actor"):
        return str(actor)
    session = (context or {}).get("database", {})
    return f"{session.get('role', 'unknown')} ({session.get('application') or 'unnamed session'})"


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
        return f"{self.what} {self.change}"

    @property
    def what(self) -> str:
        """Return the changed row in words, or what was acted on."""
        data = self.pgh_data or {}
        name = next((data[key] for key in NAMES if data.get(key)), self.pgh_obj_id)
        if self.pgh_obj_model in (ACT, SHOWN):
            return str(name)
        return f"{NOUNS.get(self.pgh_obj_model, self.pgh_obj_model)} {name}"

    @property
    def change(self) -> str:
        """Return what happened to it, in a word or two."""
        return "shown" if self.pgh_obj_model == SHOWN else LABELS.get(self.code, self.code)

    @property
    def code(self) -> str:
        """Return what happened to it as exports have it: a key of LABELS, or the kind of an act."""
        return str((self.pgh_data or {}).get("kind", "")) if self.pgh_obj_model == ACT else str(self.pgh_label)

    @property
    def behalf(self) -> str:
        """Return whose object it is that somebody acted on, where that is known."""
        return str((self.pgh_data or {}).get("behalf", "")) if self.pgh_obj_model == ACT else ""

    @property
    def who(self) -> str:
        return who_of(self.pgh_context)

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
        if self.pgh_obj_model == ACT:
            return values_of(self.pgh_data or {})
        data = {name: value for name, value in (self.pgh_data or {}).items() if not name.startswith("pgh_")}
        match self.pgh_label:
            case "update":
                return {name: (old, new) for name, (old, new) in (self.pgh_diff or {}).items()}
            case "delete":
                return {name: (value, None) for name, value in data.items()}
            case _:
                return {name: (None, value) for name, value in data.items()}
