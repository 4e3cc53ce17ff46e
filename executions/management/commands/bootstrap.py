import os
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

from audit import redaction
from console import roles
from executions.models import Client, Token, hash_token
from sandbox_platform.env import envsecret
from seccomp_profiles import shipped

FIRST_CLIENT = "ragflow"


class Command(BaseCommand):
    help = "Creates what a new installation needs and is not there yet. Safe to run at every start."

    def handle(self, **options: Any) -> None:
        for name in shipped.create_missing():
            self.stdout.write(f"seccomp profile {name}: created")
        for name in redaction.create_missing():
            self.stdout.write(f"redaction pattern {name}: created")
        call_command("sync_runtimes", stdout=self.stdout)
        for name in roles.ensure():
            self.stdout.write(f"role {name}: brought up to date")
        self.stdout.write(ensure_administrator())
        self.stdout.write(ensure_first_client())


def ensure_administrator() -> str:
    username, password = os.environ.get("ADMIN_USERNAME") or "admin", envsecret("ADMIN_PASSWORD")
    users = get_user_model()._default_manager
    if users.filter(username=username).exists():
        return f"administrator {username}: exists, left as it is"
    if not password:
        return f"administrator {username}: not created, ADMIN_PASSWORD is not set"
    get_user_model().objects.create_superuser(username=username, password=password)
    return f"administrator {username}: created"


def ensure_first_client() -> str:
    token = settings.RAGFLOW_TOKEN
    if not token:
        return f"client {FIRST_CLIENT}: SANDBOX_EXECUTOR_MANAGER_API_TOKEN is not set, left as it is"
    if known := Token.objects.select_related("client").filter(token_sha256=hash_token(token)).first():
        # An administrator's revocation outlives a restart.
        refused = known.refusal()
        has = f"client {known.client}: has the configured token"
        return f"{has}, which is refused: {refused}" if refused else has
    client = Client.objects.filter(name=FIRST_CLIENT).first()
    if client is None:
        Client.objects.create_with_token(FIRST_CLIENT, token)
        return f"client {FIRST_CLIENT}: created with the configured token"
    Token.objects.rotate(client, overlap=timedelta(0), token=token)
    return f"client {FIRST_CLIENT}: given the configured token, its old one is void"
