import csv
import io
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client as Browser
from django.urls import reverse

from audit.models import TrailEntry
from clients.models import Client
from tests.conftest import Visitor
from tests.pages import cells, fields, words
from tests.usage.conftest import LONG_AGO, NOW, Ran
from usage import pages, refusals, rollup
from usage.models import Price, StoredSample
from usage.models.price import today
from usage.refusals import Kind

PAGE = reverse("admin:usage")


def html(browser: Browser, **query: str) -> str:
    response = browser.get(PAGE, query)
    assert response.status_code == 200
    return response.content.decode()


def table(browser: Browser, **query: str) -> str:
    return words(html(browser, **query).partition('id="usage"')[2].partition("</section>")[0])


def test_says_what_was_used(browser: Browser, ran: Ran) -> None:
    ran()
    assert "alice 1 500 ms 2 GiB·s 0 bytes" in table(browser)
    assert "python 1 500 ms 2 GiB·s" in table(browser, by="runtime")
    assert f"{NOW:%Y-%m-%d} 1 500 ms" in table(browser, by="day")


def test_follows_the_range(browser: Browser, ran: Ran) -> None:
    ran(LONG_AGO)
    rollup.roll_up()
    assert "alice 1" in table(browser)
    assert "alice 1" not in table(browser, range="24h")
    assert "alice 1" in table(browser, until=f"{LONG_AGO + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    assert "Nothing was used" in table(browser, until="2001-01-01")


def test_filters_by_client(browser: Browser, ran: Ran, alice: Client) -> None:
    ran()
    ran(client=Client.objects.create(name="bob"))
    shown = table(browser, client=str(alice.pk))
    assert "client: alice Remove" in shown
    assert "bob" not in shown
    assert "bob" in table(browser, client="x' OR 1")


def test_shows_the_share_of_quotas(browser: Browser, ran: Ran, alice: Client) -> None:
    Client.objects.filter(pk=alice.pk).update(max_runs_per_day=2, max_stored_bytes=1000)
    ran()
    StoredSample.objects.create(
        hour=NOW.replace(minute=0, second=0, microsecond=0), client_id=alice.pk, bytes=1000
    )
    assert "50 % 1 of 2 100 % 1000 bytes of 1000 bytes" in table(browser)


def test_refusals_are_shown_by_kind(browser: Browser, ran: Ran, alice: Client) -> None:
    for kind in (Kind.RATE, Kind.RATE, Kind.STORAGE):
        refusals.count(kind, alice.pk)
    refusals.flush()
    shown = words(html(browser).partition('id="refused"')[2])
    assert "Client Runs per minute Stored history alice 2 1" in shown


def test_no_amounts_without_a_price(browser: Browser, ran: Ran) -> None:
    ran()
    assert "Cost" not in table(browser)
    Price.objects.create(from_day=today(), currency="EUR")
    assert "Cost" not in table(browser)
    Price.objects.filter(from_day=today()).update(per_cpu_second=4)
    assert "2.00 EUR" in table(browser)


@pytest.mark.parametrize(
    "amount, said", [("0", "0.00"), ("1234.5", "1,234.50"), ("0.0123", "0.012"), ("1E-6", "under")]
)
def test_small_amounts_are_not_nothing(amount: str, said: str) -> None:
    assert said in pages.costs({"EUR": Decimal(amount)})


def test_csv_has_the_rows_of_the_page(browser: Browser, ran: Ran, alice: Client) -> None:
    ran()
    link = re.search(r'href="\?([^"]*format=csv[^"]*)"', html(browser, by="client-day", client=str(alice.pk)))
    assert link is not None
    text = browser.get(f"{PAGE}?{link[1].replace('&amp;', '&')}").getvalue().decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["client"], row["day"], row["runs"]) == ("alice", f"{NOW:%Y-%m-%d}", "1")


def test_names_are_escaped(browser: Browser, ran: Ran, alice: Client) -> None:
    Client.objects.filter(pk=alice.pk).update(name="<b>x")
    ran()
    shown = html(browser, client=str(alice.pk))
    assert "&lt;b&gt;x" in shown
    assert "<b>x" not in shown


def test_a_clients_page_shows_its_days_with_a_link(browser: Browser, ran: Ran, alice: Client) -> None:
    ran()
    shown = browser.get(reverse("admin:clients_client_change", args=[alice.pk])).content.decode()
    assert f"{NOW:%a %d %b} 1 500 ms 2 GiB·s 0 bytes 0" in words(shown)
    assert f"{PAGE}?client={alice.pk}&amp;by=client-day" in shown


def test_a_price_is_set_and_is_in_the_trail(visitor: Visitor) -> None:
    browser = visitor("administrator")
    address = reverse("admin:usage_price_add")
    prices = {
        "per_run": "0.5", "per_cpu_second": "0", "per_gib_second": "0", "per_gib_day_stored": "0",
        "per_gib_egress": "0",
    }  # fmt: skip
    data = {"from_day": str(today() - timedelta(days=1)), "currency": "EUR"} | prices
    assert "This day has passed" in browser.post(address, data).content.decode()
    assert browser.post(address, data | {"from_day": str(today())}).status_code == 302
    (entry,) = TrailEntry.objects.filter(pgh_obj_model="usage.Price")
    assert entry.who == "user one administrator"
    assert entry.changes["per_run"] == (None, 0.5)


def test_prices_are_shown_as_people_write_them(visitor: Visitor) -> None:
    Price.objects.create(from_day=today(), currency="EUR", per_run="0.0100")
    Price.objects.create(from_day=today() - timedelta(days=9), currency="EUR", per_run="0.02")
    browser = visitor("administrator")
    form = fields(browser.get(reverse("admin:usage_price_add")).content.decode())
    assert (form["per_run"], form["per_cpu_second"]) == ("0.01", "0")
    listed = browser.get(reverse("admin:usage_price_changelist")).content.decode()
    assert (cells(listed, "run"), cells(listed, "cpu")) == (["0.01", "0.02"], ["0", "0"])


def test_a_past_price_does_not_change(visitor: Visitor) -> None:
    past = Price.objects.create(from_day=today() - timedelta(days=1), currency="EUR")
    browser = visitor("administrator")
    for page in ("change", "delete"):
        address = reverse(f"admin:usage_price_{page}", args=[past.pk])
        assert browser.post(address, {"currency": "USD", "post": "yes"}).status_code == 403
    assert Price.objects.get().currency == "EUR"


def test_only_administrators_set_prices(visitor: Visitor) -> None:
    for role in ("operator", "auditor"):
        assert visitor(role).post(reverse("admin:usage_price_add"), {}).status_code == 403
