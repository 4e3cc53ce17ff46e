"""What the trail knows of a person's password."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.models.changes import UPDATE, PersonEvent, who_of


@dataclass(frozen=True)
class PasswordChange:
    at: datetime
    who: str  # as in the trail: the actor, or the database session's role and application
    url: str


def password_changes(user_id: Any, since: datetime | None) -> Iterator[PasswordChange]:
    """Yield the changes of the user's password after `since`, oldest first. A new user's first one is none."""
    before = None
    for event in PersonEvent.objects.filter(pgh_obj_id=user_id).order_by("pgh_id"):
        changed = event.pgh_label == UPDATE and event.password != before
        before = event.password
        if changed and (since is None or event.pgh_created_at > since):
            context = event.pgh_context or {}
            yield PasswordChange(event.pgh_created_at, who_of(context), str(context.get("url") or ""))
