import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.models import RetentionPolicy
from clients.models import Client
from executions import representation, services, submission, tasks
from executions.models import Execution, InputFile, Outcome, Status
from executions.verdict import Verdict
from redaction import services as redaction
from redaction.models import RedactionPattern
from redaction.services import SHIPPED, UNREADABLE, WITHHELD, PatternError, Redactor, compile_pattern
from runtimes.models import Runtime
from sandbox_platform.kit.errors import InvalidField
from sandboxes.session import Report

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


# --- What stands beside it ---

TOKEN = SAMPLES["GitHub token"]


def test_no_hash_stands_beside_redacted_code(redacting: None, make_execution: MakeExecution) -> None:
    """A PIN of four digits is found from such a hash at once."""
    code = f"k = '{TOKEN}'"
    sha256 = hashlib.sha256(code.encode()).hexdigest()
    execution = finish(make_execution(status=Status.RUNNING, code=code, code_sha256=sha256))
    assert sha256 not in str(Execution.objects.filter(pk=execution.pk).values().get())


def test_the_hash_of_code_that_stays_is_kept(redacting: None, make_execution: MakeExecution) -> None:
    execution = finish(make_execution(status=Status.RUNNING, code="print(1)", code_sha256="a" * 64, stdin=TOKEN))
    assert execution.code_sha256 == "a" * 64


def test_a_rejected_execution_has_no_hash_either(redacting: None, python_runtime: Runtime) -> None:
    python_runtime.enabled = False
    execution = services.submit(
        services.Request(runtime=python_runtime, code=f"# {KEY}", endpoint="test"), policy="off"
    )
    assert Execution.objects.get(pk=execution.pk).code_sha256 == ""


def test_labels_and_the_program_s_path_are_redacted(redacting: None, make_execution: MakeExecution) -> None:
    fields = {"labels": {"by": TOKEN, TOKEN: "x"}, "source_file": f"{TOKEN}.py"}
    execution = finish(make_execution(status=Status.RUNNING, **fields))
    assert (execution.labels, execution.source_file) == ({"by": "[redacted]", "[redacted]": "x"}, "[redacted].py")


def test_paths_of_input_files_are_redacted(redacting: None, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.RUNNING, input_count=3)
    for path in (f"{TOKEN}.csv", f"{SAMPLES['Google API key']}.csv", "plain.csv"):
        InputFile.objects.create(execution=execution, path=path, content=b"1")
    finish(execution)
    paths = sorted(execution.input_files.values_list("path", flat=True))
    assert paths == ["[redacted].csv", "[redacted].csv-1", "plain.csv"]


def test_names_of_artifacts_are_redacted(redacting: None, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.RUNNING)
    report = Report(started_at=timezone.now())
    report.artifacts = [(f"{TOKEN}.txt", b"1"), ("plain.txt", b"2")]
    finish(execution, report=report, limits=execution.limits)
    assert sorted(execution.artifacts.values_list("name", flat=True)) == ["[redacted].txt", "plain.txt"]


def test_a_path_is_final_once_its_execution_has_ended(redacting: None, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.RUNNING, input_count=1)
    file = InputFile.objects.create(execution=execution, path="a", content=b"1")
    with pytest.raises(DatabaseError, match="is final"), transaction.atomic():
        InputFile.objects.filter(pk=file.pk).update(content=b"2")
    finish(execution)
    with pytest.raises(DatabaseError, match="is final"), transaction.atomic():
        InputFile.objects.filter(pk=file.pk).update(path="b")


@pytest.mark.parametrize("redact", [True, False])
def test_a_callback_url_that_would_be_redacted_is_refused(python_runtime: Runtime, redact: bool) -> None:
    RetentionPolicy.objects.create(redact=redact)
    redaction.create_missing()
    url = "https://user:hunter2@hooks.example/x"
    request = services.Request(runtime=python_runtime, code="1", endpoint="test", callback_url=url)
    if not redact:
        assert services.submit(request, policy="off").callback_url == url
        return
    with pytest.raises(InvalidField, match="callbacks are signed"):
        services.submit(request, policy="off")


@pytest.mark.parametrize(("endpoint", "left"), [("judge0", "a" * 64), ("api", "[redacted]"), (None, "[redacted]")])
def test_label_that_a_format_sets_stays(endpoint: str | None, left: str) -> None:
    values = {"endpoint": endpoint, "labels": {"judge0.expected": "a" * 64, "by": "a" * 64}}
    redacted = redactor("[0-9a-f]{32,}").fields(values)
    assert redacted["labels"] == {"judge0.expected": left, "by": "[redacted]"}


def test_an_open_execution_is_shown_redacted(redacting: None, make_execution: MakeExecution) -> None:
    fields = {"code": TOKEN, "labels": {"by": TOKEN}, "argv": [TOKEN], "variables": {"A": TOKEN}, "stdin": TOKEN}
    execution = make_execution(status=Status.RUNNING, input_count=1, source_file=f"{TOKEN}.py", **fields)
    InputFile.objects.create(execution=execution, path=f"{TOKEN}.csv", content=b"1")
    execution = Execution.objects.get(pk=execution.pk)
    shown = [representation.detail(execution, None), representation.listed(execution, representation.LISTED)]
    assert TOKEN not in str(shown)
    assert shown[0]["code_sha256"] == ""
    assert execution.code == TOKEN


def test_a_list_without_the_code_has_no_hash_of_it_either(redacting: None, make_execution: MakeExecution) -> None:
    pk = make_execution(status=Status.RUNNING, code=TOKEN).pk
    row = Execution.objects.defer(*representation.unneeded_columns(representation.SMALL)).get(pk=pk)
    assert representation.listed(row, representation.SMALL)["code_sha256"] == ""


def test_pages_show_an_open_execution_redacted(
    redacting: None, browser: Browser, make_execution: MakeExecution
) -> None:
    execution = make_execution(status=Status.RUNNING, code=TOKEN, labels={"by": TOKEN}, input_count=1)
    InputFile.objects.create(execution=execution, path=f"{TOKEN}.csv", content=b"1")
    page = reverse("admin:executions_execution_change", args=[execution.pk])
    text = reverse("admin:executions_execution_text", args=[execution.pk, "code"])
    listed = reverse("admin:executions_execution_changelist")
    found = f"{listed}?q={execution.pk}"
    playground = f"{reverse('admin:playground')}?from={execution.pk}"
    for address in (page, text, listed, found, playground):
        answer = browser.get(address)
        assert (answer.status_code, TOKEN in answer.content.decode()) == (200, False), address


def test_a_key_of_a_request_does_not_tell_its_content(client_with_token: tuple[Client, str]) -> None:
    """Whoever reads the row could guess the request, unless the hash has a key from outside of the database."""
    data = {"code": "pin = 1234"}
    assert submission.fingerprint(data) != submission.unkeyed_fingerprint(data)


def test_a_request_of_before_is_recognised(python_runtime: Runtime, make_execution: MakeExecution) -> None:
    data = {"code": "print(1)"}
    earlier = make_execution(idempotency_key="k", request_sha256=submission.unkeyed_fingerprint(data))
    assert submission.submit_once("k", data, None, lambda: pytest.fail("is not new")) == (earlier, False)
