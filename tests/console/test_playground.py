import json
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse

from clients.models import Client
from executions.models import Artifact, Execution
from runtimes.models import Runtime
from tests.conftest import Visitor

PAGE = reverse("admin:playground")
RUN = reverse("playground_run")
PROGRAM = {"runtime": "python", "mode": "function", "code": "def main(): return 1"}


def run(browser: Browser, wanted: Any) -> Any:
    return browser.post(RUN, json.dumps(wanted), content_type="application/json")


def test_a_run_is_queued_in_the_person_s_name(visitor: Visitor, python_runtime: Runtime) -> None:
    answer = run(visitor("operator"), PROGRAM)
    execution = Execution.objects.get()
    assert answer.status_code == 202
    assert answer.json()["page"] == reverse("admin:executions_execution_change", args=[execution.pk])
    assert execution.labels == {"user": "one operator"}
    assert (execution.endpoint, execution.client.name) == ("console", "console")


def test_nobody_calls_the_api_as_the_console(visitor: Visitor, python_runtime: Runtime) -> None:
    run(visitor("operator"), PROGRAM)
    assert not Client.objects.get(name="console").tokens.exists()


def test_the_console_has_limits_like_any_client(visitor: Visitor, python_runtime: Runtime) -> None:
    Client.objects.create(name="console", max_open_executions=1)
    browser = visitor("operator")
    run(browser, PROGRAM)
    answer = run(browser, PROGRAM)
    assert answer.status_code == 409
    assert "queued or running" in answer.json()["detail"]


def test_console_switched_off_runs_nothing(visitor: Visitor, python_runtime: Runtime) -> None:
    Client.objects.create(name="console", enabled=False)
    assert run(visitor("operator"), PROGRAM).status_code == 409


def test_auditor_runs_nothing(visitor: Visitor, python_runtime: Runtime) -> None:
    browser = visitor("auditor")
    assert browser.get(PAGE).status_code == 403
    assert run(browser, PROGRAM).status_code == 403
    assert not Execution.objects.exists()


def test_a_run_takes_more_than_a_cookie(python_runtime: Runtime, administrator: Any) -> None:
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(administrator)
    assert run(browser, PROGRAM).status_code == 403


@pytest.mark.parametrize(
    "wanted, status",
    [
        ({}, 422),
        ([], 422),
        (PROGRAM | {"runtime": "none"}, 422),
        (PROGRAM | {"limits": {"memory_bytes": 2**50}}, 422),
        (PROGRAM | {"code": "\0"}, 422),
        (PROGRAM | {"stdin": "\ud800"}, 422),
        (PROGRAM | {"stdin": "é"}, 202),
    ],
)
def test_what_is_wrong_is_said_as_the_api_says_it(
    browser: Browser, python_runtime: Runtime, wanted: Any, status: int
) -> None:
    answer = run(browser, wanted)
    assert answer.status_code == status, answer.content
    assert status == 202 or answer.json()["detail"]


def test_an_earlier_program_is_what_the_editor_begins_with(
    browser: Browser, make_execution: Any, python_runtime: Runtime
) -> None:
    execution = make_execution(code="print('</script><script>alert(1)')", arguments='{"n": 3}')
    html = browser.get(PAGE, {"from": str(execution.pk)}).content.decode()
    assert "print(&#x27;" not in html
    assert "\\u003C/script\\u003E" in html
    assert "</script><script>alert" not in html


def content(browser: Browser) -> Any:
    html = browser.get(PAGE).content.decode()
    data = html.partition('<script id="playground-data" type="application/json">')[2].partition("</script>")[0]
    return json.loads(data)


def test_examples_are_the_runtime_s_smoke_programs(browser: Browser, db: None) -> None:
    smoke = [
        {"name": "hello", "code": 'print "hello\\n";', "expect": {"stdout": "hello\n"}},
        {"name": "input", "code": "print while <STDIN>;", "stdin": "x", "argv": ["-a"], "expect": {}},
        {"name": "crash", "code": "die", "expect": {"status": "failed"}},
    ]
    Runtime.objects.create(slug="perl", name="Perl", image="x", source_file="main.pl", smoke=smoke)
    (runtime,) = content(browser)["runtimes"]
    assert [example["name"] for example in runtime["examples"]] == ["hello", "input"]
    assert runtime["examples"][0]["code"] == 'print "hello\\n";'
    assert (runtime["examples"][1]["stdin"], runtime["examples"][1]["argv"]) == ("x", ["-a"])


def test_a_runtime_without_smoke_programs_has_a_hello_of_its_language(browser: Browser, db: None) -> None:
    Runtime.objects.create(slug="mine", name="Mine", image="x", source_file="main.pl")
    (runtime,) = content(browser)["runtimes"]
    assert [example["code"] for example in runtime["examples"]] == ['print "hello\\n";']


@pytest.mark.parametrize("given", ["x", "01990000-0000-7000-8000-000000000000"])
def test_unknown_earlier_program(browser: Browser, given: str) -> None:
    assert browser.get(PAGE, {"from": given}).status_code == 404


def test_the_end_is_told(browser: Browser, make_execution: Any) -> None:
    execution = make_execution(result="[1]", stdout="x", artifact_count=1)
    file = Artifact.objects.create(execution=execution, name="dot.gif", content=b"GIF89a", size=6)
    told = browser.get(RUN, {"id": str(execution.pk)}).json()
    assert (told["status"], told["result"], told["stdout"]) == ("succeeded", [1], "x")
    (shown,) = told["artifacts"]
    assert (shown["name"], shown["size"], shown["image"]) == ("dot.gif", "6 bytes", True)
    assert shown["address"] == reverse("admin:executions_execution_artifact", args=[execution.pk, file.pk])
