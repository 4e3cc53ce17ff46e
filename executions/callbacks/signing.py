"""Signs callbacks as Standard Webhooks requires. docs/callbacks.md shows how to verify a signature.

Signing needs the secret in clear, so it cannot be stored as a hash. No secret is stored at all: each is derived from
SANDBOX_CALLBACK_KEY, the client's id and its rotation count. The database alone does not suffice to sign, and a new
key changes all secrets at once.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.crypto import salted_hmac

from clients.models import Client

SALT = "executions.callbacks.signing"
PREFIX = "whsec_"
# After a rotation both secrets sign for this long, so that a receiver can switch over at any time.
OVERLAP = timedelta(hours=24)


def _key(client: Client | None, version: int) -> bytes:
    # Executions without a client, on a platform that requires no token, share one secret.
    owner = client.pk if client else 0
    return derived(SALT, f"{owner}:{version}")


def derived(salt: str, value: str) -> bytes:
    if not settings.CALLBACK_KEY:
        raise ImproperlyConfigured("SANDBOX_CALLBACK_KEY is not set: only web and callbacks have it")
    return salted_hmac(salt, value, secret=settings.CALLBACK_KEY, algorithm="sha256").digest()


def secret_of(client: Client | None) -> str:
    """Return the client's secret, in the form that Standard Webhooks libraries take."""
    version = client.callback_secret_version if client else 0
    return as_secret(_key(client, version))


def as_secret(key: bytes) -> str:
    return PREFIX + base64.b64encode(key).decode()


def rotate(client: Client) -> None:
    client.callback_secret_version += 1
    client.callback_secret_rotated_at = timezone.now()
    client.save(update_fields=["callback_secret_version", "callback_secret_rotated_at"])


def headers(client: Client | None, *, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    return signed_headers(_keys(client, now), message_id=message_id, body=body, now=now)


def signed_headers(keys: list[bytes], *, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    timestamp = str(int(now.timestamp()))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(key, signed) for key in keys),
    }


def _keys(client: Client | None, now: datetime) -> list[bytes]:
    if client is None:
        return [_key(None, 0)]
    return overlapping(
        lambda version: _key(client, version),
        client.callback_secret_version,
        client.callback_secret_rotated_at,
        now=now,
    )


def overlapping(
    key: Callable[[int], bytes], version: int, rotated_at: datetime | None, *, now: datetime | None = None
) -> list[bytes]:
    """Return the key of this version and, for OVERLAP after its rotation, the key of the version before."""
    if rotated_at and (now or timezone.now()) < rotated_at + OVERLAP:
        return [key(version), key(version - 1)]
    return [key(version)]


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
