from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone

from clients.models import Client, Token, hash_token

A_DAY = timedelta(days=1)


@pytest.fixture
def owner(db: None) -> Client:
    return Client.objects.create(name="dify")


def test_token_is_stored_as_hash_only(owner: Client) -> None:
    token, text = Token.objects.issue(owner)
    assert token.token_sha256 == hash_token(text)
    assert text not in str(vars(token))


def test_given_token_is_taken(db: None) -> None:
    client, text = Client.objects.create_with_token("one", "given")
    assert (text, client.tokens.get().token_sha256) == ("given", hash_token("given"))


def test_token_belongs_to_one_client(db: None) -> None:
    Client.objects.create_with_token("one", "same")
    with pytest.raises(IntegrityError, match="token_sha256"):
        Client.objects.create_with_token("two", "same")


def test_client_that_got_no_token_is_not_left_behind(transactional_db: None) -> None:
    Client.objects.create_with_token("one", "same")
    with pytest.raises(IntegrityError):
        Client.objects.create_with_token("two", "same")
    assert not Client.objects.filter(name="two").exists()


def test_prefix_recognises_a_long_token(owner: Client) -> None:
    token, text = Token.objects.issue(owner)
    assert text.startswith(token.prefix) and len(token.prefix) == 6


def test_prefix_of_a_short_token_is_not_kept(owner: Client) -> None:
    assert Token.objects.issue(owner, token="x" * 31)[0].prefix == ""


def test_rotation_with_overlap_leaves_both_usable(owner: Client) -> None:
    old, _ = Token.objects.issue(owner)
    new, _ = Token.objects.rotate(owner, overlap=A_DAY)
    assert set(Token.objects.usable()) == {old, new}


def test_rotation_ends_the_old_one_after_the_overlap(owner: Client) -> None:
    old, _ = Token.objects.issue(owner)
    new, _ = Token.objects.rotate(owner, overlap=A_DAY)
    old.refresh_from_db()
    assert old.expires_at
    assert abs(old.expires_at - timezone.now() - A_DAY) < timedelta(minutes=1)
    assert new.expires_at is None


def test_rotation_without_overlap_ends_the_old_one_at_once(owner: Client) -> None:
    Token.objects.issue(owner)
    new, _ = Token.objects.rotate(owner, overlap=timedelta(0))
    assert list(Token.objects.usable()) == [new]


def test_rotation_prolongs_no_token(owner: Client) -> None:
    soon = timezone.now() + timedelta(hours=1)
    old, _ = Token.objects.issue(owner, expires_at=soon)
    Token.objects.rotate(owner, overlap=A_DAY)
    old.refresh_from_db()
    assert old.expires_at == soon


def test_rotation_leaves_other_clients_alone(owner: Client) -> None:
    other, _ = Client.objects.create_with_token("other")
    Token.objects.rotate(owner, overlap=timedelta(0))
    assert Token.objects.usable().filter(client=other).exists()


def test_use_is_noted(owner: Client) -> None:
    token, _ = Token.objects.issue(owner)
    token.note_use()
    token.refresh_from_db()
    assert token.last_used_at


def test_use_within_ten_minutes_is_not_written_again(owner: Client, django_assert_num_queries) -> None:
    token, _ = Token.objects.issue(owner, last_used_at=timezone.now() - timedelta(minutes=9))
    with django_assert_num_queries(0):
        token.note_use()


def test_use_after_ten_minutes_is_written(owner: Client) -> None:
    earlier = timezone.now() - timedelta(minutes=11)
    token, _ = Token.objects.issue(owner, last_used_at=earlier)
    token.note_use()
    token.refresh_from_db()
    assert token.last_used_at and token.last_used_at > earlier


def test_revocation_keeps_its_first_time(owner: Client) -> None:
    token, _ = Token.objects.issue(owner, revoked_at=(long_ago := timezone.now() - A_DAY))
    token.revoke()
    token.refresh_from_db()
    assert token.revoked_at == long_ago
