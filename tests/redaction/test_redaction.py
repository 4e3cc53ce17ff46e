import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import RetentionPolicy
from clients.models import Client
from executions import services, tasks
from executions.models import Execution, Outcome, Status
from executions.verdict import Verdict
from redaction import services as redaction
from redaction.models import RedactionPattern
from redaction.services import SHIPPED, UNREADABLE, WITHHELD, PatternError, Redactor, compile_pattern
from runtimes.models import Runtime

MakeExecution = Callable[..., Execution]
MakePolicy = Callable[..., RetentionPolicy]
SUCCESS = Verdict(Status.SUCCEEDED, Outcome.COMPLETED, "")
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nAAAA\n-----END RSA PRIVATE KEY-----"
SAMPLES = {
    "AWS access key id": "AKIAIOSFODNN7EXAMPLE",
    "AWS secret access key": "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "GitHub token": "ghp_" + "a1B2" * 9,
    "GitLab token": "glpat-" + "x" * 20,
    "Slack token": "xoxb-123456789012-abcdef",
    "API key (sk-…)": "sk-proj-" + "a" * 20,
    "Google API key": "AIza" + "B" * 35,
    "Bearer token": "Authorization: Bearer abcdefghijklmnop0123",
    "JSON Web Token": "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4",
    "Private key": KEY,
    "Password in a URL": "postgres://admin:hunter2@db/prod",
}


@pytest.fixture
def redacting(db: None) -> None:
    RetentionPolicy.objects.create(redact=True)
    redaction.create_missing()


def redactor(regex: str = "s3cret", replacement: str = "[redacted]") -> Redactor:
    return Redactor([(regex, replacement)])


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_pattern_finds_its_secret(name: str) -> None:
    assert "[redacted]" in redactor(SHIPPED[name]).text(f"x = '{SAMPLES[name]}'\n")


@pytest.mark.parametrize("text", ["def main(): return 1", "https://example.org/a:b@c", "sk-short", "ghp_short"])
def test_shipped_patterns_leave_ordinary_text(text: str) -> None:
    assert Redactor([(regex, "[redacted]") for regex in SHIPPED.values()]).text(text) == text


@pytest.mark.parametrize("text", ["a s3cret b", "ä s3cret \U0001f600", "s3crets3cret", "\ud800 s3cret"])
def test_text_is_rid_of_matches(text: str) -> None:
    assert "s3cret" not in redactor().text(text)


def test_replacement_is_literal() -> None:
    assert redactor(replacement=r"\1\g<0>").text("s3cret") == r"\1\g<0>"


def test_json_stays_json() -> None:
    text = json.dumps({"s3cret": ["a s3cret", 1, None, 1.5], "k": {"n": 'x"s3cret'}})
    assert json.loads(redactor(replacement='"').json_text(text)) == {
        '"': ['a "', 1, None, 1.5],
        "k": {"n": 'x""'},
    }


def test_json_is_searched_within_its_strings() -> None:
    assert "MIIE" not in redactor(SHIPPED["Private key"]).json_text(json.dumps({"key": KEY}))


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "9" * 10_000])
def test_json_that_cannot_be_read_is_withheld(text: str) -> None:
    assert json.loads(redactor().json_text(text)) == UNREADABLE


def test_unusable_pattern_withholds_everything() -> None:
    assert redactor("(").text("anything") == WITHHELD


@pytest.mark.parametrize("regex", ["(", r"(a)\1", "(?=a)b", "a*", "", "a{1001}", "(((a{100}){100}){100})"])
def test_pattern_that_will_not_do_is_refused(regex: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(regex)


def test_pattern_is_validated_on_its_form(db: None) -> None:
    with pytest.raises(ValidationError) as e:
        RedactionPattern(name="x", regex="(").full_clean()
    assert "RE2" in e.value.message_dict["regex"][0]


@pytest.mark.timeout(120, method="signal")
def test_catastrophic_pattern_takes_linear_time() -> None:
    redactor(r"(a+)+$|(a|aa)+b").text("a" * 200_000 + "!")


# --- What is stored ---


def finish(execution: Execution, **fields: Any) -> Execution:
    assert services.finish(execution.pk, SUCCESS, **fields)
    execution.refresh_from_db()
    return execution


def test_end_of_a_run_redacts_its_input(redacting: None, make_execution: MakeExecution) -> None:
    secret = SAMPLES["AWS access key id"]
    execution = make_execution(
        status=Status.RUNNING,
        code=f"k = '{secret}'",
        stdin=secret,
        arguments=json.dumps({"k": secret}),
        argv=[secret],
    )
    finish(execution)
    stored = (execution.code, execution.stdin, execution.arguments, execution.argv)
    assert stored == ("k = '[redacted]'", "[redacted]", '{"k": "[redacted]"}', ["[redacted]"])


def test_end_of_a_run_redacts_its_output(redacting: None, make_execution: MakeExecution) -> None:
    secret = SAMPLES["AWS access key id"]
    execution = finish(make_execution(status=Status.RUNNING), stdout=f"a {secret}", stderr=secret)
    assert (execution.stdout, execution.stderr) == ("a [redacted]", "[redacted]")


def test_run_itself_has_the_original(redacting: None, make_execution: MakeExecution) -> None:
    secret = SAMPLES["AWS access key id"]
    execution = make_execution(status=Status.QUEUED, code=secret)
    assert Execution.objects.get(pk=execution.pk).code == secret


def test_variables_are_redacted(redacting: None, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.RUNNING, variables={"TOKEN": SAMPLES["GitHub token"], "A": "b"})
    services.finish(execution.pk, SUCCESS)
    execution.refresh_from_db()
    assert execution.variables == {"TOKEN": "[redacted]", "A": "b"}


@pytest.mark.parametrize("redact", [True, False])
def test_output_is_not_seen_live_where_it_will_be_redacted(make_execution: MakeExecution, redact: bool) -> None:
    RetentionPolicy.objects.create(redact=redact)
    execution = tasks.take(str(make_execution(status=Status.QUEUED).pk))
    with tasks.watched(execution, execution.runtime.limits) as watch:
        assert (watch is None) == redact


def test_rejected_execution_is_redacted(redacting: None, python_runtime: Runtime) -> None:
    python_runtime.enabled = False
    request = services.Request(runtime=python_runtime, code=f"# {KEY}", endpoint="test")
    execution = services.submit(request, policy="off")
    assert Execution.objects.get(pk=execution.pk).code == "# [redacted]"


def test_without_a_policy_nothing_is_redacted(make_execution: MakeExecution) -> None:
    redaction.create_missing()
    assert finish(make_execution(status=Status.RUNNING, code=KEY)).code == KEY


def test_policy_of_a_client_decides(redacting: None, make_execution: MakeExecution) -> None:
    client, _ = Client.objects.create_with_token("one")
    RetentionPolicy.objects.create(client=client, redact=False)
    assert finish(make_execution(status=Status.RUNNING, code=KEY, client=client)).code == KEY


def test_disabled_pattern_does_nothing(redacting: None, make_execution: MakeExecution) -> None:
    RedactionPattern.objects.update(enabled=False)
    assert finish(make_execution(status=Status.RUNNING, code=KEY)).code == KEY


def test_end_of_a_run_costs_no_query_when_nobody_redacts(make_execution: MakeExecution) -> None:
    finish(make_execution(status=Status.RUNNING))
    execution = make_execution(status=Status.RUNNING)
    with CaptureQueriesContext(connection) as queries:
        services.finish(execution.pk, SUCCESS)
    assert len(queries) == 1


def test_rules_are_read_again_after_a_while() -> None:
    now = 100.0
    cache = redaction._Cache(clock=lambda: now)
    cache.rules, cache.read_at = redaction._Rules({}, Redactor([])), now - redaction.CACHE_S
    assert cache.get() is cache.rules
