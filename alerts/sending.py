"""Sends one message: by mail, or by a signed request to a checked address. Raises nothing, whatever is answered."""

import smtplib
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from django.utils import timezone

from alerts import messages
from alerts.models import Channel, ChannelKind, Notification, NotificationKind
from executions.callbacks import sender, signing

NO_SERVER = "No mail server is configured: set EMAIL_HOST in .env and run `make restart`."
BODIES = {ChannelKind.WEBHOOK: messages.as_json, ChannelKind.SLACK: messages.as_slack}
LONGEST_REPLY = 250


@dataclass(frozen=True)
class Answer:
    """The receiver's answer. `final`: a retry cannot succeed."""

    ok: bool
    words: str
    duration_ms: int = 0
    final: bool = False


def send(notification: Notification) -> Answer:
    channel = notification.channel
    if channel is None:
        return Answer(False, "The channel was deleted.", final=True)
    if not channel.enabled and notification.kind != NotificationKind.TEST:
        return Answer(False, "The channel is disabled.", final=True)
    begin = time.monotonic()
    answer = _mail(notification, channel) if channel.kind == ChannelKind.MAIL else _post(notification, channel)
    return Answer(answer.ok, answer.words, round((time.monotonic() - begin) * 1000), answer.final)


def _post(notification: Notification, channel: Channel) -> Answer:
    body = BODIES[ChannelKind(channel.kind)](notification)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"sandbox-platform/{settings.VERSION}",
        **signing.signed_headers(
            channel.keys, message_id=messages.message_id(notification), body=body, now=timezone.now()
        ),
    }
    answer = sender.post(channel.url, body, headers)
    words = " ".join(str(part) for part in (answer.status_code, answer.error) if part)
    return Answer(answer.is_success, words, final=answer.final)


def _mail(notification: Notification, channel: Channel) -> Answer:
    if not settings.SANDBOX_MAIL_CONFIGURED:
        return Answer(False, NO_SERVER, final=True)
    message = EmailMessage(
        messages.title(notification),
        messages.text(notification),
        to=channel.recipients,
        # Marks an automatic message (RFC 3834): nobody's holiday answers it.
        headers={"Auto-Submitted": "auto-generated"},
    )
    try:
        return _deliver(message)
    except smtplib.SMTPResponseException as e:
        return Answer(False, _reply(e.smtp_code, e.smtp_error), final=_is_final(e.smtp_code))
    except (OSError, smtplib.SMTPException, UnicodeError) as e:
        where = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
        return Answer(False, f"No answer of {where}: {type(e).__name__}: {e}"[:LONGEST_REPLY])


def _deliver(message: EmailMessage) -> Answer:
    """Send the message command by command, because `sendmail` of the library keeps the server's reply to itself."""
    backend: Any = EmailBackend()
    backend.open()
    try:
        server: smtplib.SMTP = backend.connection
        server.ehlo_or_helo_if_needed()
        _must(server.mail(message.from_email))
        refused = []
        for recipient in message.recipients():
            code, reply = server.rcpt(recipient)
            if code not in (250, 251):
                refused.append((code, f"{recipient}: {_reply(code, reply)}"))
        if len(refused) == len(message.recipients()):
            return Answer(
                False, "; ".join(words for _, words in refused), final=all(map(_is_final, dict(refused)))
            )
        # SMTP's line ends. The stubs know Python's class, not Django's.
        content: Any = message.message()
        answer = _must(server.data(content.as_bytes(linesep="\r\n")))
        # Those who take it have it: another attempt would send it to them again.
        return Answer(True, "; ".join([answer, *(f"refused for {words}" for _, words in refused)]))
    finally:
        backend.close()


def _must(replied: tuple[int, bytes]) -> str:
    code, reply = replied
    if not 200 <= code < 300:
        raise smtplib.SMTPResponseException(code, reply)
    return _reply(code, reply)


def _reply(code: int, reply: bytes | str) -> str:
    words = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    return f"{code} {' '.join(words.split())}"[:LONGEST_REPLY]


def _is_final(code: int) -> bool:
    """Return whether the server says that it will never take this (RFC 5321: 5yz)."""
    return code >= 500
