"""A throw-away platform on this machine, as the tests start it, with or without a protection switched off."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from attacks.weakened import FOLDER, WEAKNESSES
from scripts.setup.images import built_runtimes
from tests import live
from tests.database import FOLDER as TEMPLATES
from tests.database import shared_templates

RUNTIMES = ("python", "nodejs", "c", "bash", "go", "rust")
ADD_CLIENTS = """
import os
from clients.models import Client
Client.objects.create_with_token("attacker", os.environ["ATTACKER"])
Client.objects.create_with_token("neighbour", os.environ["NEIGHBOUR"])
"""


@dataclass(frozen=True)
class Installation:
    """A platform that is attacked. `known`: its secrets, which no program may print, by what they are."""

    url: str
    token: str
    other_token: str
    engine: str = ""
    known: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)


def offered() -> list[str]:
    return [slug for slug in RUNTIMES if slug in built_runtimes()]


def add_clients(platform: live.Platform) -> Installation:
    """Make the attacker and the neighbour, and return how to reach the platform."""
    token, other = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    with mock.patch.dict("os.environ", ATTACKER=token, NEIGHBOUR=other):
        platform.manage("shell", "-c", ADD_CLIENTS)
    known = {
        "the key of sessions": platform.environment["DJANGO_SECRET_KEY"],
        "the administrator's password": platform.environment["ADMIN_PASSWORD"],
        "the address of the database": platform.postgres.url,
        "the attacker's token": token,
        "the neighbour's token": other,
    }
    return Installation(platform.url, token, other, platform.engine, known)


@contextmanager
def platform(engine: str, weakness: str = "") -> Iterator[Installation]:
    """Start a platform and stop it afterwards. `weakness`: one of WEAKNESSES, for its worker, keeper and web."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attacks-", dir="/var/tmp")))  # noqa: S108
        if TEMPLATES not in os.environ:  # several platforms in a row are copies of one
            stack.enter_context(shared_templates())
        further: dict[str, Any] = {}
        if weakness:
            assert weakness in WEAKNESSES  # noqa: S101
            folder.chmod(0o711)
            (folder / "weak").mkdir()
            further = {FOLDER: str(folder / "weak")}
            commands = {name: ["-m", "attacks.weakened", weakness, name] for name in live.STARTED}
            stack.enter_context(mock.patch.dict(live.COMMANDS, commands))
        running = live.Platform(
            folder / "platform",
            SANDBOX_ENGINE=engine,
            SANDBOX_TIMEOUT="20s",
            SANDBOX_EXECUTOR_MANAGER_POOL_SIZE="2",
            SANDBOX_BUILT_RUNTIMES=",".join(offered()),
            **further,
        )
        (folder / "platform").mkdir()
        stack.callback(running.stop)
        running.start(*offered())
        yield add_clients(running)
