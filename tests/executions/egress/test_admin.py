from collections.abc import Callable

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from audit.models import EgressRuleEvent
from executions.admin.explain import explain
from executions.egress.models import EgressRequest, EgressRule
from executions.models import Execution, Outcome, Status
from runtimes.models import Network
from tests.pages import words

MakeExecution = Callable[..., Execution]
ADD = reverse("admin:egress_egressrule_add")


def asked(execution: Execution, host: str, reason: str = "") -> None:
    EgressRequest.objects.create(
        execution=execution, at=timezone.now(), method="GET", host=host, port=80, allowed=not reason, reason=reason
    )


def page(browser: Browser, execution: Execution) -> str:
    return browser.get(reverse("admin:executions_execution_change", args=[execution.pk])).content.decode()


def test_rule_is_added_in_its_normal_spelling_and_recorded(browser: Browser) -> None:
    assert browser.post(ADD, {"domain": "API.Example.com", "enabled": "on"}).status_code == 302
    assert EgressRule.objects.get().domain == "api.example.com"
    assert EgressRuleEvent.objects.get().domain == "api.example.com"


@pytest.mark.parametrize("domain", ["10.0.0.1", "localhost", "https://api.example.com"])
def test_rule_that_is_no_domain_is_refused_with_the_reason(browser: Browser, domain: str) -> None:
    response = browser.post(ADD, {"domain": domain, "enabled": "on"})
    assert response.status_code == 200
    assert "example.com" in words(response.content.decode())
    assert not EgressRule.objects.exists()


def test_rules_are_listed_with_whose_they_are(browser: Browser) -> None:
    EgressRule.objects.create(domain="api.example.com")
    html = browser.get(reverse("admin:egress_egressrule_changelist")).content.decode()
    assert "api.example.com all with egress all with egress" in words(html)


def test_execution_shows_what_it_asked_for(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(network=Network.EGRESS, egress_rules=[{"domain": "api.example.com"}])
    asked(execution, "api.example.com")
    asked(execution, "evil.example", "not_allowed")
    html = words(page(browser, execution))
    assert "Egress requests 2, 1 refused" in html
    assert "Refused Host not on the allow-list GET evil.example:80" in html
    assert "Allow-list at the start of the run: api.example.com" in html


def test_execution_without_egress_has_no_such_card(browser: Browser, make_execution: MakeExecution) -> None:
    html = words(page(browser, make_execution()))
    assert "Allow-list" not in html
    assert "No network" in html


def test_what_a_program_asked_for_is_escaped(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(network=Network.EGRESS)
    asked(execution, "<script>alert(1)</script>", "not_allowed")
    assert "<script>alert" not in page(browser, execution)


def failed(make_execution: MakeExecution, **fields: object) -> Execution:
    return make_execution(status=Status.FAILED, outcome=Outcome.NONZERO_EXIT, exit_code=1, **fields)


def test_failure_names_the_host_that_was_refused(make_execution: MakeExecution) -> None:
    execution = failed(make_execution, network=Network.EGRESS, stderr="HTTP Error 403: Forbidden")
    asked(execution, "api.example.com")
    asked(execution, "evil.example", "not_allowed")
    told = explain(execution)
    assert told
    assert told.remedies == ["The request to evil.example:80 was refused: Host not on the allow-list."]


def test_failure_around_the_proxy_is_told_from_one_without_a_network(make_execution: MakeExecution) -> None:
    stderr = "socket.gaierror: Temporary failure in name resolution"
    texts = []
    for network in (Network.NONE, Network.EGRESS):
        told = explain(failed(make_execution, network=network, stderr=stderr))
        assert told
        texts.append(told.remedies[0])
    assert texts[0] != texts[1]
    assert "bypass the proxy" in texts[1]
