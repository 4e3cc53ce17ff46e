"""Heads of seals leave the machine: number, hash and signature of each seal go where a writer of the database is not.

A head alone proves that its seal, and with it all history up to it, has not been replaced since. `SANDBOX_HEADS_*`
name the destinations. The keeper writes the file. The callbacks process sends the rest: the keeper has no way out.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM, socket
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.utils import timezone

from audit.keys import give_to_owner_of_folder
from audit.models import HeadDestination, Seal
from executions.callbacks import sender, signing
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import Task

logger = logging.getLogger(__name__)

DELIVER = Task("deliver head", "audit.heads.deliver", senders=[Service.KEEPER], queue=settings.CALLBACK_CLUSTER)
FILE, MAIL, WEBHOOK, SYSLOG = "file", "mail", "webhook", "syslog"
# Most heads in one message.
BATCH = 100
# A task that was queued this long ago was lost with its worker.
LEASE = timedelta(minutes=10)
LONGEST_PAUSE = timedelta(hours=1)
SYSLOG_PORT = 514
SYSLOG_S = 5.0
SYSLOG_PRIORITY = 4 * 8 + 6  # facility auth, severity info
# The end of the file, which holds at least its last line.
END_OF_FILE = 4096


class NotDelivered(Exception):
    """A destination did not take the heads. The message gives the reason."""


def as_json(seal: Seal) -> dict[str, Any]:
    return {
        "sequence": seal.sequence,
        "hash": seal.hash,
        "created_at": seal.created_at.isoformat(),
        "rows": seal.count,
        "key": seal.key,
        "signature": bytes(seal.signature or b"").hex(),
    }


def signed_by(head: dict[str, Any]) -> tuple[str, bytes, bytes]:
    """Return the key's fingerprint, what it signed and the signature, of a head in the form of `as_json`."""
    seal = Seal(sequence=head["sequence"], hash=head["hash"])
    return head["key"], seal.signed, bytes.fromhex(head["signature"])


def lines(seals: list[Seal]) -> str:
    return "".join(json.dumps(as_json(seal)) + "\n" for seal in seals)


# --- The destinations ---


def _write(seals: list[Seal]) -> None:
    path = Path(settings.SANDBOX_HEADS_FILE)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), "a+b") as file:
        if size := file.seek(0, os.SEEK_END):
            file.seek(size - 1)
            cut_short = file.read() != b"\n"  # by a crash
        else:
            give_to_owner_of_folder(path)
            cut_short = False
        file.write(b"\n" * cut_short + lines(seals).encode())
        file.flush()
        os.fsync(file.fileno())


def _mail(seals: list[Seal]) -> None:
    subject = f"{settings.SANDBOX_NODE}: seal {seals[-1].head[:24]}…"
    text = (
        "Heads of the seals of Sandbox Platform's history. Keep this message: `manage.py verify_audit --heads FILE` "
        f"compares the history with these lines.\n\n{lines(seals)}"
    )
    send_mail(subject, text, None, settings.SANDBOX_HEADS_MAIL)


def _post(seals: list[Seal]) -> None:
    body = json.dumps({"type": "seals.made", "heads": [as_json(seal) for seal in seals]}).encode()
    message_id = f"seal_{seals[0].sequence}_{seals[-1].sequence}"
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"sandbox-platform/{settings.VERSION}",
        **signing.signed_headers([_webhook_key()], message_id=message_id, body=body, now=timezone.now()),
    }
    answer = sender.post(settings.SANDBOX_HEADS_WEBHOOK, body, headers)
    if not answer.is_success:
        raise NotDelivered(f"{answer.error} Status {answer.status_code}.")


def _log(seals: list[Seal]) -> None:
    target = urlsplit(settings.SANDBOX_HEADS_SYSLOG)
    kind = {"udp": SOCK_DGRAM, "tcp": SOCK_STREAM}.get(target.scheme)
    if kind is None or not target.hostname:
        raise NotDelivered("SANDBOX_HEADS_SYSLOG must be udp://host:514 or tcp://host:514.")
    with socket(AF_INET6 if ":" in target.hostname else AF_INET, kind) as log:
        log.settimeout(SYSLOG_S)
        log.connect((target.hostname, target.port or SYSLOG_PORT))
        for line in lines(seals).splitlines():
            # One datagram each, or one line of a stream (RFC 6587).
            log.sendall(f"<{SYSLOG_PRIORITY}>sandbox-platform: seal {line}\n".encode())


SENDERS: dict[str, Callable[[list[Seal]], None]] = {FILE: _write, MAIL: _mail, WEBHOOK: _post, SYSLOG: _log}


def configured() -> list[str]:
    return [name for name in SENDERS if getattr(settings, f"SANDBOX_HEADS_{name.upper()}")]


def _webhook_key() -> bytes:
    return signing.derived("audit.heads", WEBHOOK)


def webhook_secret() -> str:
    """Return the secret that verifies the webhook's signature, in the form that Standard Webhooks libraries take."""
    return signing.as_secret(_webhook_key())


# --- Delivery ---


def send_due() -> None:
    """Write the file, and queue the other destinations whose turn it is. Every keeper may call this."""
    for name in configured():
        if name == FILE:
            deliver(FILE)
        elif _claim(name):
            DELIVER.enqueue(name)


def _claim(name: str) -> bool:
    """Return whether there is something to send now, and nobody else sends it for the time of a lease."""
    with transaction.atomic():
        row = _row(name)
        now = timezone.now()
        if not _pending(name, row) or (row.next_attempt_at and row.next_attempt_at > now):
            return False
        row.next_attempt_at = now + LEASE
        row.save(update_fields=["next_attempt_at"])
        return True


def deliver(name: str) -> None:
    """Send the heads that this destination lacks. A failure is recorded, and tried again later."""
    with transaction.atomic():
        row = _row(name)
        if not (seals := _pending(name, row)):
            return
        try:
            SENDERS[name](seals)
        except (NotDelivered, OSError) as e:
            _failed(row, e)
        else:
            row.delivered, row.delivered_at = seals[-1].sequence, timezone.now()
            row.attempts, row.error, row.next_attempt_at = 0, "", None
        row.save()


def _failed(row: HeadDestination, error: Exception) -> None:
    row.attempts += 1
    row.error = str(error)[:300] or type(error).__name__
    row.next_attempt_at = timezone.now() + min(timedelta(minutes=2 ** min(row.attempts, 10)), LONGEST_PAUSE)
    logger.warning("heads of seals did not leave by %s, attempt %s: %s", row.name, row.attempts, row.error)


def row_name(name: str) -> str:
    """Return the key of the destination's row. Each node has its own file."""
    return f"{FILE} {settings.SANDBOX_NODE}" if name == FILE else name


def _row(name: str) -> HeadDestination:
    """Return the destination's row, locked. A new destination begins with the newest seal."""
    name = row_name(name)
    newest = Seal.objects.order_by("-sequence").values_list("sequence", flat=True).first() or 1
    HeadDestination.objects.get_or_create(name=name, defaults={"delivered": newest - 1})
    return HeadDestination.objects.select_for_update().get(name=name)


def _pending(name: str, row: HeadDestination) -> list[Seal]:
    seals = Seal.objects.exclude(key="").order_by("sequence")
    if name == FILE:
        # What the file holds decides, not the database: each node has its own file, and a writer of the database must
        # not be able to skip a head.
        since = _newest_in_file(Path(settings.SANDBOX_HEADS_FILE))
        return list(seals.filter(created_at__gt=since) if since else seals)
    return list(seals.filter(sequence__gt=row.delivered)[:BATCH])


def _newest_in_file(path: Path) -> datetime | None:
    """Return when the last seal in the file was made. A line that a crash cut short does not count."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END_OF_FILE))
        for line in reversed(file.read().splitlines()):
            with contextlib.suppress(ValueError, KeyError):
                return datetime.fromisoformat(json.loads(line)["created_at"])
    return None
