"""The pages: who sees, who changes, who silences."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.messages import get_messages
from django.core.paginator import Paginator
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from alerts import shipped
from alerts.models import Alert, Channel, ChannelKind, Notification, Rule, Silence
from alerts.sending import NO_SERVER
from audit.models import ShownSecret, TrailEntry
from tests.alerts.conftest import Figures, Later, Receiver, evaluate, send_all
from tests.conftest import Visitor
from tests.pages import fields, words

MakeRule = Callable[..., Rule]
MakeChannel = Callable[..., Channel]
SECRET_URL = "https://hooks.example.com/services/T000/B000/XXXXXXXX"


def page(name: str, *arguments: object) -> str:
    return reverse(f"admin:alerts_{name}", args=arguments)


def html(browser: Browser, url: str) -> str:
    answer = browser.get(url)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def send(browser: Browser, at: str, **values: object) -> Any:
    """Send the page's form, with other values."""
    given = {name: value for name, value in fields(html(browser, at)).items() if not name.startswith("_")}
    return browser.post(at, given | values, follow=True)


@pytest.fixture
def alert(make_rule: MakeRule, figures: Figures) -> Alert:
    make_rule()
    figures.met = {"client a": 3}
    evaluate()
    return Alert.objects.get()


# --- Alerts ---


@pytest.mark.parametrize("role", ["administrator", "operator", "auditor"])
def test_everybody_browses_alerts_with_their_messages(
    visitor: Visitor, make_channel: MakeChannel, alert: Alert, later: Later, role: str
) -> None:
    make_channel()
    later(minutes=1)
    evaluate()
    browser = visitor(role)
    assert "client a" in html(browser, page("alert_changelist"))
    shown = html(browser, page("alert_change", alert.pk))
    assert "It is 3." in shown and "3 pieces" in shown and "hook" in shown


def test_alerts_that_fire_come_first(browser: Browser, alert: Alert, figures: Figures, later: Later) -> None:
    later(minutes=1)
    figures.met = {}
    evaluate()
    later(minutes=1)
    figures.met = {"client b": 3}
    evaluate()
    listed = html(browser, page("alert_changelist"))
    assert listed.index("client b") < listed.index("client a")


def test_list_of_alerts_has_few_queries_however_long(
    browser: Browser, make_rule: MakeRule, figures: Figures
) -> None:
    make_rule()
    url = page("alert_changelist")
    numbers = []
    for met in (1, 40):
        figures.met = {f"client {n}": 1 for n in range(met)}
        Alert.objects.all().delete()
        Rule.objects.get().state.delete() if numbers else None
        evaluate()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            html(browser, url)
        numbers.append(len(queries))
    assert numbers[0] == numbers[1] < 25


def test_dashboard_and_menu_show_what_fires(browser: Browser, alert: Alert) -> None:
    shown = html(browser, reverse("admin:index"))
    assert "Firing alerts" in shown
    assert page("alert_change", alert.pk) in shown
    entry = shown[shown.index("notifications_active") :]
    assert words(entry[: entry.index("</a>")]).split() == ["notifications_active", "Alerts", "1"]


def test_list_counts_the_rows_that_it_shows(
    browser: Browser, alert: Alert, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another alert opens after Django has counted.
    monkeypatch.setattr(Paginator, "count", 0)
    assert browser.get(page("alert_changelist")).context["cl"].result_count == 1


def test_list_says_how_many_fire_as_the_menu_does(
    browser: Browser, make_rule: MakeRule, figures: Figures, later: Later
) -> None:
    make_rule()
    figures.met = {"client a": 3, "client b": 3}
    evaluate()
    later(minutes=1)
    figures.met = {"client b": 3}
    evaluate()
    later(minutes=6)
    evaluate()
    shown = html(browser, page("alert_changelist"))
    assert "1 firing now, as in the menu" in words(shown) and "2 alerts" in words(shown)
    entry = shown[shown.index("notifications_active") :]
    assert words(entry[: entry.index("</a>")]).split()[-1] == "1"


def test_dashboard_says_that_rules_are_not_watched(
    browser: Browser, make_rule: MakeRule, figures: Figures, later: Later
) -> None:
    make_rule()
    evaluate()
    assert "not watched" not in html(browser, reverse("admin:index"))
    later(minutes=6)
    assert "not watched: not evaluated for 5 minutes: Too many" in html(browser, reverse("admin:index"))
    assert "Some rules are not watched" in html(browser, page("alert_changelist"))


def test_rule_that_cannot_be_evaluated_shows(browser: Browser, make_rule: MakeRule, figures: Figures) -> None:
    make_rule()
    figures.fails = True
    evaluate()
    assert "Cannot be evaluated: ZeroDivisionError" in html(browser, page("rule_changelist"))
    assert "Too many (ZeroDivisionError)" in html(browser, page("alert_changelist"))


# --- Silences ---


def test_operator_silences_a_subject_from_its_alert(visitor: Visitor, alert: Alert) -> None:
    browser = visitor("operator")
    link = f"{page('silence_add')}?rule={alert.rule_id}&amp;subject=client+a"
    assert link in html(browser, page("alert_change", alert.pk))
    send(browser, link.replace("&amp;", "&"), reason="load test", lasts="4")
    silence = Silence.objects.get()
    assert (silence.subject, silence.created_by) == ("client a", "user one operator")
    assert 3.9 < (silence.until - timezone.now()).total_seconds() / 3600 < 4.1
    assert "by user one operator" in html(browser, page("alert_changelist"))
    assert TrailEntry.objects.filter(pgh_obj_model="alerts.Silence").exists()


def test_silence_needs_a_reason(browser: Browser, alert: Alert) -> None:
    answer = send(browser, f"{page('silence_add')}?rule={alert.rule_id}", reason="")
    assert "This field is required." in answer.content.decode()
    assert not Silence.objects.exists()


def test_operator_ends_a_silence(visitor: Visitor, alert: Alert) -> None:
    browser = visitor("operator")
    send(browser, f"{page('silence_add')}?rule={alert.rule_id}", reason="load test")
    silence = Silence.objects.get()
    assert "End now" in html(browser, page("silence_change", silence.pk))
    browser.post(page("silence_changelist"), {"action": "end_now", "_selected_action": [silence.pk]})
    silence.refresh_from_db()
    assert silence.ended_by == "user one operator"


def test_auditor_silences_nothing(visitor: Visitor, alert: Alert) -> None:
    browser = visitor("auditor")
    assert "Silence …" not in html(browser, page("alert_change", alert.pk))
    assert browser.get(page("silence_add")).status_code == 403


# --- Rules ---


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_only_administrators_change_rules_and_channels(
    visitor: Visitor, make_rule: MakeRule, make_channel: MakeChannel, role: str
) -> None:
    rule, channel, browser = make_rule(), make_channel(), visitor(role)
    assert "At least: 1" in html(browser, page("rule_change", rule.pk))
    for url in (
        page("rule_change", rule.pk),
        page("channel_change", channel.pk),
        page("channel_test", channel.pk),
    ):
        assert browser.post(url, {"name": "x"}).status_code == 403
    for url in (page("rule_add"), page("channel_add"), page("rule_add") + "?condition=of_the_test"):
        assert browser.get(url).status_code == 403
    assert not Notification.objects.exists()


def test_no_page_leads_from_a_form_to_another(browser: Browser, make_rule: MakeRule) -> None:
    """A "+" beside a choice would: what was typed would be lost."""
    make_rule()
    adding = [
        reverse(f"admin:{each._meta.app_label}_{each._meta.model_name}_add")
        for each, its in admin.site._registry.items()
        if its.has_add_permission(browser.get(page("alert_changelist")).wsgi_request)
    ]
    assert page("silence_add") in adding
    assert [url for url in adding if "add-related" in browser.get(url, follow=True).content.decode()] == []


def test_administrator_adds_a_rule_for_a_condition(browser: Browser, make_channel: MakeChannel) -> None:
    make_channel()
    assert "?condition=queue_old" in html(browser, page("rule_add"))
    url = page("rule_add") + "?condition=queue_old"
    send(browser, url, name="Old", parameter_age_ms="90 s", pending_ms="2 min", channels=["hook"])
    rule = Rule.objects.get()
    assert (rule.condition, rule.parameters) == ("queue_old", {"age_ms": 90_000})
    assert (rule.pending_ms, rule.channels) == (120_000, ["hook"])


def test_value_beyond_its_bounds_is_refused_with_them(browser: Browser, db: None) -> None:
    answer = send(browser, page("rule_add") + "?condition=queue_old", name="Old", parameter_age_ms="2 h")
    assert "write a whole number from 1 s to 1 h" in answer.content.decode()
    assert not Rule.objects.exists()


def test_each_condition_has_a_form_that_saves(browser: Browser, db: None) -> None:
    shipped.create_missing()
    for rule in Rule.objects.all():
        send(browser, page("rule_change", rule.pk), severity="info")
        before = rule.parameters
        rule.refresh_from_db()
        assert (rule.severity, rule.parameters) == ("info", before)


def test_changes_of_a_rule_are_in_the_trail(browser: Browser, make_rule: MakeRule) -> None:
    rule = make_rule()
    send(browser, page("rule_change", rule.pk), enabled="", parameter_least="7")
    entry = TrailEntry.objects.filter(pgh_obj_model="alerts.Rule", pgh_label="update").get()
    assert (entry.what, entry.who) == ("alert rule Too many", "user admin")
    assert entry.changes["parameters"] == ({}, {"least": 7})


def test_list_of_rules_says_that_nobody_is_told(browser: Browser, make_rule: MakeRule) -> None:
    make_rule()
    assert "Nobody is told" in html(browser, page("rule_changelist"))
    Channel.objects.create(name="a", kind=ChannelKind.MAIL, recipients=["a@example.com"])
    assert "Nobody is told" not in html(browser, page("rule_changelist"))


# --- Channels ---


def test_webhook_is_added_and_its_secret_shown_once(browser: Browser, db: None) -> None:
    answer = send(browser, page("channel_add"), name="ops", kind="slack", url=SECRET_URL)
    channel = Channel.objects.get()
    assert channel.secret in answer.content.decode()
    assert ShownSecret.objects.filter(name="signing secret of channel ops").exists()
    assert channel.secret not in html(browser, page("channel_change", channel.pk))


@pytest.mark.parametrize("role", ["administrator", "operator", "auditor"])
def test_nobody_is_shown_the_url(visitor: Visitor, make_channel: MakeChannel, role: str) -> None:
    channel, browser = make_channel(kind=ChannelKind.SLACK, url=SECRET_URL), visitor(role)
    shown = html(browser, page("channel_changelist")) + html(browser, page("channel_change", channel.pk))
    assert "https://hooks.example.com/…" in shown
    assert "XXXXXXXX" not in shown


def test_url_stays_if_the_field_is_left_empty(browser: Browser, make_channel: MakeChannel) -> None:
    channel = make_channel(url=SECRET_URL)
    send(browser, page("channel_change", channel.pk), lowest_severity="critical")
    channel.refresh_from_db()
    assert (channel.url, channel.lowest_severity) == (SECRET_URL, "critical")


def test_trail_has_no_url_of_a_channel(browser: Browser, db: None) -> None:
    send(browser, page("channel_add"), name="ops", kind="webhook", url=SECRET_URL)
    send(browser, page("channel_change", Channel.objects.get().pk), url=f"{SECRET_URL}2")
    entries = TrailEntry.objects.filter(pgh_obj_model="alerts.Channel")
    written = str([(entry.pgh_data, entry.pgh_diff, entry.pgh_context) for entry in entries])
    assert "XXXXXXXX" not in written
    assert entries.filter(pgh_label="update").get().changes.keys() == {"url"}


@pytest.mark.parametrize(
    "values, field, problem",
    [
        ({"kind": "webhook", "url": "http://127.0.0.1/"}, "url", "127.0.0.1 is not a public address"),
        ({"kind": "webhook", "url": "http://[::ffff:10.0.0.1]/"}, "url", "is not a public address"),
        ({"kind": "webhook", "url": "https://user:pw@example.com/"}, "url", "must not contain a user name"),
        ({"kind": "webhook", "url": "http://example.com:25/"}, "url", "Port 25 is not allowed"),
        ({"kind": "webhook"}, "url", "A webhook needs a URL."),
        ({"kind": "mail"}, "recipients", "Mail needs at least one address."),
        ({"kind": "mail", "recipients": "a@example.com, nonsense"}, "recipients", "is no mail address"),
        ({"kind": "mail", "recipients": "a@example.com", "url": SECRET_URL}, "url", "Mail has no URL"),
    ],
)
def test_target_that_cannot_work_is_refused(
    browser: Browser, db: None, values: dict[str, str], field: str, problem: str
) -> None:
    answer = send(browser, page("channel_add"), name="ops", **values)
    assert problem in str(answer.context["adminform"].form.errors[field])
    assert not Channel.objects.exists()


def test_form_says_which_kinds_each_target_is_for(browser: Browser, db: None) -> None:
    form = browser.get(page("channel_add")).context["adminform"].form
    assert {name: form[name].field.widget.attrs.get("data-kinds") for name in ("recipients", "url", "name")} == {
        "recipients": "mail",
        "url": "webhook slack",
        "name": None,
    }
    assert "alerts/kinds.js" in html(browser, page("channel_add"))


def test_mail_without_a_server_is_said_on_the_channel(browser: Browser, db: None, settings: Settings) -> None:
    settings.SANDBOX_MAIL_CONFIGURED = False
    answer = send(
        browser, page("channel_add"), name="mail", kind="mail", recipients="a@example.com\nb@example.com"
    )
    assert NO_SERVER in [str(message) for message in get_messages(answer.wsgi_request)] or (
        "No mail server is configured" in answer.content.decode()
    )
    channel = Channel.objects.get()
    assert channel.recipients == ["a@example.com", "b@example.com"]
    assert "No mail is sent" in html(browser, page("channel_change", channel.pk))


@pytest.mark.usefixtures("loopback_allowed")
def test_test_button_shows_the_receivers_answer(
    browser: Browser, make_channel: MakeChannel, receiver: Receiver
) -> None:
    channel = make_channel(url=receiver.url)
    assert "Send a test message" in html(browser, page("channel_change", channel.pk))
    receiver.status = 503
    answer = browser.post(page("channel_test", channel.pk), follow=True)
    assert "On its way" in answer.content.decode()
    assert receiver.received == []  # the web sends nothing
    send_all()
    shown = html(browser, answer.redirect_chain[-1][0])
    assert "Not delivered" in shown and "503 Not a success status (2xx)." in shown
    assert TrailEntry.objects.filter(pgh_data__kind="tested", pgh_data__name="alert channel hook").exists()


def test_channel_that_a_rule_names_is_not_deleted(
    browser: Browser, make_rule: MakeRule, make_channel: MakeChannel
) -> None:
    channel = make_channel()
    make_rule(channels=["hook"])
    assert browser.post(page("channel_delete", channel.pk), {"post": "yes"}).status_code == 403
    Rule.objects.update(channels=[])
    browser.post(page("channel_delete", channel.pk), {"post": "yes"})
    assert not Channel.objects.exists()


def test_rotation_shows_another_secret(browser: Browser, make_channel: MakeChannel) -> None:
    channel = make_channel()
    old = channel.secret
    data = {"action": "rotate_secret", "_selected_action": [channel.pk]}
    answer = browser.post(page("channel_changelist"), data, follow=True)
    channel.refresh_from_db()
    assert channel.secret != old
    assert channel.secret in answer.content.decode()
