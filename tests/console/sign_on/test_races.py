"""Two first logins at the same moment: both are held at a lock in Postgres, and let go together."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client as Browser
from django.urls import reverse
from pytest_django import Settings

from people.models import Identity
from tests.console.sign_on.openid import Provider, go
from tests.live import eventually
from tests.pages import words

pytestmark = pytest.mark.django_db(transaction=True)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@contextmanager
def held(url: str, statement: str, waiting: int) -> Iterator[None]:
    """Keep what the statement locks until so many sessions wait, for it or for each other; then let go."""
    with psycopg.connect(url) as session:
        session.execute(statement.encode())
        yield

        def all_wait() -> bool:
            with connection.cursor() as cursor:
                cursor.execute(WAITING)
                return bool(cursor.fetchone()[0] == waiting)

        eventually(all_wait, "everybody waits")
        session.commit()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def come_back(provider: Provider, subject: str) -> Callable[[], Any]:
    """The last step of a login, in a browser of its own."""
    browser = Browser()
    address = provider.lets_in(go(browser), subject)

    def step() -> Any:
        try:
            return browser.get(address)
        finally:
            connection.close()

    return step


def race(url: str, pool: ThreadPoolExecutor, *steps: Callable[[], Any]) -> list[Any]:
    # Reading identities is allowed, storing one is not: each has seen that it is new.
    with held(url, "LOCK TABLE people_identity IN EXCLUSIVE MODE", len(steps)):
        futures: list[Future[Any]] = [pool.submit(step) for step in steps]
    return [future.result(60) for future in futures]


def test_one_person_twice_is_one_user_and_both_are_in(
    provider: Provider, database_url: str, threads: ThreadPoolExecutor
) -> None:
    answers = race(database_url, threads, come_back(provider, "ann-1"), come_back(provider, "ann-1"))
    assert [(answer.status_code, answer["Location"]) for answer in answers] == [(302, reverse("admin:index"))] * 2
    ann = User.objects.get(username="ann")
    assert Identity.objects.get().user == ann
    assert [group.name for group in ann.groups.all()] == ["operator"]


def test_of_two_persons_with_one_name_the_second_is_refused(
    provider: Provider, database_url: str, threads: ThreadPoolExecutor
) -> None:
    provider.knows("ann-2", preferred_username="ann", groups=["admins"])
    answers = race(database_url, threads, come_back(provider, "ann-1"), come_back(provider, "ann-2"))
    assert sorted(answer.status_code for answer in answers) == [302, 403]
    (refused,) = [answer for answer in answers if answer.status_code == 403]
    assert "There is already a user ann here" in words(refused.content.decode())
    assert User.objects.get(username="ann").groups.count() == 1


def test_of_two_persons_with_one_address_one_takes_the_account_over(
    provider: Provider, database_url: str, threads: ThreadPoolExecutor, settings: Settings
) -> None:
    settings.SANDBOX_OIDC_LINK_BY_EMAIL = True
    User.objects.create_user("local", email="ann@example.com", is_staff=True)
    claims: dict[str, Any] = {"email": "ann@example.com", "email_verified": True, "groups": ["ops"]}
    provider.knows("bea-1", preferred_username="bea", **claims)
    answers = race(database_url, threads, come_back(provider, "ann-1"), come_back(provider, "bea-1"))
    assert [answer.status_code for answer in answers] == [302, 302]
    assert Identity.objects.filter(user__username="local").count() == 1
    assert User.objects.count() == 2


def test_a_user_whom_an_administrator_creates_meanwhile_is_not_taken_over(
    provider: Provider, database_url: str, threads: ThreadPoolExecutor
) -> None:
    step = come_back(provider, "ann-1")
    create = (
        "INSERT INTO auth_user (username, password, email, first_name, last_name, is_staff, is_active, is_superuser,"
        " date_joined) VALUES ('ann', '', '', '', '', false, true, false, now())"
    )
    with held(database_url, create, 1):
        future = threads.submit(step)
    answer = future.result(60)
    assert (answer.status_code, "There is already a user ann" in words(answer.content.decode())) == (403, True)
    assert not Identity.objects.exists()
