"""Records the settings of a node at its start, so that the trail has what changed since the start before.

Settings are environment variables, which only a start reads. Of a secret the table has a salted hash, and the trail a
fingerprint of that: that it changed shows, and nothing of it.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from secrets import token_hex

from django.conf import settings
from django.db import transaction

from audit.models import Setting

OURS = re.compile(r"(SANDBOX|DJANGO|DATABASE|ADMIN|EMAIL|DOCKER)_[A-Z0-9_]+|DEFAULT_FROM_EMAIL")
# An address may hold a password or a token.
SECRET = re.compile(r".*(PASSWORD|SECRET|TOKEN|_KEY|DATABASE_URL|WEBHOOK|OTLP_HEADERS)")
# Where Compose mounts secrets, whose variables end in _FILE.
MOUNTED = "/run/secrets/"
FILE = "_FILE"
VERSION = "VERSION"
# Of scrypt: about 30 ms for each secret.
COST = {"n": 2**14, "r": 8, "p": 1}


def record_start(environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Store this node's settings and yield a line of text for each that changed since its last start."""
    node = settings.SANDBOX_NODE
    plain, secret = _read(environment)
    with transaction.atomic():
        rows = {row.name: row for row in Setting.objects.select_for_update().filter(node=node)}
        for name in rows.keys() - plain.keys() - secret.keys():
            rows[name].delete()
            yield f"setting {name}: removed"
        for name, value in {**plain, **secret}.items():
            row = rows.get(name) or Setting(node=node, name=name)
            is_new = row.pk is None
            if name in secret:
                if not is_new and row.secret_hash and _matches(value, row.secret_hash):
                    continue
                row.value, row.secret_hash = "", _hashed(value, token_hex(16))
            elif not is_new and row.secret_hash is None and row.value == value:
                continue
            else:
                row.value, row.secret_hash = value, None
            row.save()
            if not is_new:
                yield f"setting {name}: changed"


def _read(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings that are no secrets, and those that are. An empty setting is one that is not set."""
    plain, secret = {VERSION: settings.VERSION}, {}
    for name, value in environment.items():
        if not OURS.fullmatch(name) or not value:
            continue
        if name.endswith(FILE) and value.startswith(MOUNTED):
            try:
                content = Path(value).read_text().strip()
            except OSError:
                continue
            if content:
                secret[name.removesuffix(FILE)] = content
        elif SECRET.fullmatch(name):
            secret[name] = value
        else:
            plain[name] = value
    return plain, secret


def _hashed(value: str, salt: str) -> str:
    return f"{salt}${hashlib.scrypt(value.encode(), salt=bytes.fromhex(salt), dklen=32, **COST).hex()}"


def _matches(value: str, hashed: str) -> bool:
    return _hashed(value, hashed.partition("$")[0]) == hashed
