"""The receipt of a verification: its result, with the seals and keys that `check_receipt.py` checks elsewhere."""

import json
from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.utils import timezone

from audit.check_receipt import TYPE
from audit.models import Seal, SealKey, Verification

COMMAND = Path(__file__).with_name("check_receipt.py")


def receipt_of(row: Verification) -> dict[str, Any]:
    """Return the receipt: up to the seal that the verification reached."""
    columns: dict[str, Any] = {}
    seals = Seal.objects.filter(sequence__gte=row.first, sequence__lte=row.reached or 0).order_by("sequence")
    return {
        "type": TYPE,
        "version": 1,
        "issued_at": timezone.now().isoformat(),
        "verification": _result(row),
        "keys": [_key(key) for key in SealKey.objects.order_by("id")],
        "seals": [_seal(seal, columns) for seal in seals.iterator(chunk_size=100)],
        "columns": columns,
    }


def _result(row: Verification) -> dict[str, Any]:
    names = ("first", "last", "reached", "state", "rows", "finding_count", "findings", "requested_by")
    times = ("requested_at", "started_at", "ended_at")
    return {name: getattr(row, name) for name in names} | {name: _time(getattr(row, name)) for name in times}


def _key(key: SealKey) -> dict[str, Any]:
    return {
        "fingerprint": key.fingerprint,
        "public_key": _base64(key.public_key),
        "used_from": _time(key.used_from),
        "previous": key.previous,
        "signature": _base64(key.signature),
    }


def _seal(seal: Seal, columns: dict[str, Any]) -> dict[str, Any]:
    """Return the seal. Its columns, which many seals share, go into `columns` once, under their hash."""
    name = sha256(json.dumps(seal.columns, sort_keys=True).encode()).hexdigest()
    columns.setdefault(name, seal.columns)
    return seal_of(seal) | {"columns": name}


def seal_of(seal: Seal) -> dict[str, Any]:
    """Return all that the seal's hash covers, with the hash and its signature."""
    plain = ("sequence", "count", "root", "previous", "hash", "key", "statement", "columns")
    times = ("period_from", "period_to", "created_at")
    return {
        **{name: getattr(seal, name) for name in plain},
        **{name: _time(getattr(seal, name)) for name in times},
        "signature": _base64(seal.signature),
    }


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def _base64(value: Any) -> str | None:
    return None if value is None else b64encode(bytes(value)).decode()
