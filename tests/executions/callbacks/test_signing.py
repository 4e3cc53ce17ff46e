import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.crypto import salted_hmac
from pytest_django import Settings

from clients.models import Client
from executions.callbacks import signing

pytestmark = pytest.mark.django_db
DOCS = Path(__file__).resolve().parents[3] / "docs" / "callbacks.md"


@pytest.fixture
def caller(client_with_token: tuple[Client, str]) -> Client:
    return client_with_token[0]


def signed(client: Client | None, body: bytes = b"{}") -> dict[str, str]:
    return signing.headers(client, message_id="msg_1", body=body, now=timezone.now())


def expected(secret: str, headers: dict[str, str], body: bytes = b"{}") -> str:
    """As the specification of Standard Webhooks words it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def documented_check() -> Callable[[str, dict[str, str], bytes], bool]:
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert code
    documented: dict[str, Any] = {}
    exec(code[1], documented)  # noqa: S102
    return documented["verify"]  # type: ignore[no-any-return]


def test_the_signature_is_standard_webhooks(caller: Client) -> None:
    headers = signed(caller)
    assert headers["webhook-signature"] == expected(signing.secret_of(caller), headers)


def test_the_secret_is_long_enough_and_marked(caller: Client) -> None:
    prefix, _, key = signing.secret_of(caller).partition("_")
    assert (prefix, len(base64.b64decode(key))) == ("whsec", 32)


def test_every_client_has_a_secret_of_its_own(caller: Client) -> None:
    other, _ = Client.objects.create_with_token("other")
    secrets = {signing.secret_of(caller), signing.secret_of(other), signing.secret_of(None)}
    assert len(secrets) == 3


def test_the_secret_depends_on_the_platform_s_key(caller: Client, settings: Settings) -> None:
    before = signing.secret_of(caller)
    settings.CALLBACK_KEY = "another"
    assert signing.secret_of(caller) != before


def test_after_a_rotation_both_secrets_sign_for_a_day(caller: Client) -> None:
    old = signing.secret_of(caller)
    signing.rotate(caller)
    caller.refresh_from_db()
    headers = signed(caller)
    assert signing.secret_of(caller) != old
    both = [expected(signing.secret_of(caller), headers), expected(old, headers)]
    assert headers["webhook-signature"].split() == both


def test_after_a_day_the_old_secret_signs_no_more(caller: Client) -> None:
    signing.rotate(caller)
    caller.callback_secret_rotated_at = timezone.now() - timedelta(hours=25)
    headers = signed(caller)
    assert headers["webhook-signature"] == expected(signing.secret_of(caller), headers)


def test_the_documented_check_takes_ours_and_refuses_what_was_changed(caller: Client) -> None:
    verify = documented_check()
    body = b'{"a":1}'
    headers = signed(caller, body)
    secret = signing.secret_of(caller)
    old = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 3600)}
    assert verify(secret, headers, body) is True
    assert [verify(secret, headers, b"{}"), verify(signing.secret_of(None), headers, body)] == [False, False]
    assert verify(secret, old | {"webhook-signature": expected(secret, old, body)}, body) is False


def test_secrets_are_those_of_before_there_was_a_key_for_them(settings: Settings) -> None:
    former = salted_hmac(signing.SALT, "0:0", secret=settings.SECRET_KEY, algorithm="sha256").digest()
    assert signing.secret_of(None) == signing.as_secret(former)
    settings.SECRET_KEY = "of sessions only"
    assert signing.secret_of(None) == signing.as_secret(former)


def test_a_process_without_the_key_invents_no_secret(settings: Settings) -> None:
    settings.CALLBACK_KEY = ""
    with pytest.raises(ImproperlyConfigured, match="SANDBOX_CALLBACK_KEY"):
        signing.secret_of(None)
