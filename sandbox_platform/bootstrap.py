"""Create what a new installation needs: profiles, patterns, runtimes, roles, an administrator and the first client.

Every start runs this, so it also records which settings changed since the start before.
"""

import io
import os
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

from alerts import shipped as alert_rules
from audit.starts import record_start
from clients.models import Client, Token, hash_token
from console import roles
from inspections import separation
from redaction import services as redaction
from sandbox_platform.kit.env import envsecret
from seccomp_profiles import shipped

FIRST_CLIENT = "ragflow"


def ensure_all() -> Iterator[str]:
    """Create what is missing and leave existing rows unchanged. Yield one line of text per step."""
    for name in shipped.create_missing():
        yield f"seccomp profile {name}: created"
    for name in redaction.create_missing():
        yield f"redaction pattern {name}: created"
    out = io.StringIO()
    call_command("sync_runtimes", stdout=out)
    yield from out.getvalue().splitlines()
    for name in roles.ensure():
        yield f"role {name}: updated"
    for name in alert_rules.create_missing():
        yield f"alert rule {name}: created"
    yield ensure_administrator()
    yield ensure_first_client()
    separation.client()
    yield from record_start()


def ensure_administrator() -> str:
    username, password = os.environ.get("ADMIN_USERNAME") or "admin", envsecret("ADMIN_PASSWORD")
    users = get_user_model()._default_manager
    if users.filter(username=username).exists():
        return f"administrator {username}: exists, left unchanged"
    if not password:
        return f"administrator {username}: not created, ADMIN_PASSWORD is not set"
    get_user_model().objects.create_superuser(username=username, password=password)
    return f"administrator {username}: created"


def ensure_first_client() -> str:
    token = settings.RAGFLOW_TOKEN
    if not token:
        return f"client {FIRST_CLIENT}: SANDBOX_EXECUTOR_MANAGER_API_TOKEN is not set, left unchanged"
    if known := Token.objects.select_related("client").filter(token_sha256=hash_token(token)).first():
        # A restart must not undo an administrator's revocation.
        refused = known.refusal()
        has = f"client {known.client}: has the configured token"
        return f"{has}, but the token is refused: {refused}" if refused else has
    client = Client.objects.filter(name=FIRST_CLIENT).first()
    if client is None:
        Client.objects.create_with_token(FIRST_CLIENT, token)
        return f"client {FIRST_CLIENT}: created with the configured token"
    Token.objects.rotate(client, overlap=timedelta(0), token=token)
    return f"client {FIRST_CLIENT}: token replaced by the configured one"
