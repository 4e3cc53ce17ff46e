"""`manage.py recover NAME` lets a locked-out person in: whoever may run commands on the host may do that anyway."""

from argparse import ArgumentParser
from typing import Any

from allauth.mfa.models import Authenticator
from axes.utils import reset
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.urls import reverse
from django.utils.crypto import get_random_string

from people.models import LINK_LASTS, RecoveryLink
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind

RECOVERY = "sign_on_recovery"


class Command(BaseCommand):
    help = (
        "Print a link that logs somebody in once, without password and second factor, also while local login is "
        "switched off. Run it in the service web. The audit trail records it."
    )
    # The settings may be what locked everybody out.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="user name")
        parser.add_argument("--url", help="address of the platform, such as https://sandbox.example.com")
        parser.add_argument("--new-password", action="store_true", help="also set and print a new password")
        parser.add_argument(
            "--reset-second-factors",
            action="store_true",
            help="also remove authenticator app, passkeys and recovery codes",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            known = ", ".join(
                User.objects.filter(is_superuser=True, is_active=True).values_list("username", flat=True)
            )
            raise CommandError(f"There is no user {options['name']}. Superusers: {known or 'none'}.")
        if not (user.is_active and user.is_staff):
            raise CommandError(f"{user} is switched off, or no staff. Take another superuser.")
        with transaction.atomic():
            done = {"link": f"{int(LINK_LASTS.total_seconds()) // 60} minutes, once"}
            token = RecoveryLink.objects.issue(user)
            if options["reset_second_factors"]:
                removed = [str(factor) for factor in Authenticator.objects.filter(user=user)]
                Authenticator.objects.filter(user=user).delete()
                done["second factors"] = f"removed: {', '.join(removed) or 'none'}"
            password = get_random_string(20) if options["new_password"] else ""
            if password:
                user.set_password(password)
                user.save(update_fields=["password"])
                done["new password"] = "set"
            reset(username=user.get_username())
            acts.done(Kind.RECOVERED, f"user {user}", user.pk, after=done)
        base = (options["url"] or f"http://localhost:{settings.RAGFLOW_PORT}").rstrip("/")
        self.stdout.write(f"Open this link within {done['link'].split(',')[0]}. It works once:")
        self.stdout.write(f"{base}{reverse(RECOVERY, args=[token])}")
        if password:
            self.stdout.write(f"New password of {user}: {password}")
