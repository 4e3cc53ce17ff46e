import json
from collections.abc import Callable

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from executions.admin import ansi, previews
from executions.admin.explain import explain
from executions.admin.json_tree import tree
from executions.models import Artifact, Execution, Outcome, Status
from tests.conftest import Visitor
from tests.pages import words

MakeExecution = Callable[..., Execution]
SCRIPT = "<script>alert(1)</script>"


def address(execution: Execution, name: str, *more: object) -> str:
    return reverse(f"admin:executions_execution_{name}", args=[execution.pk, *more])


def page(browser: Browser, execution: Execution) -> str:
    response = browser.get(address(execution, "change"))
    assert response.status_code == 200
    return response.content.decode()


# --- Terminal colours ---


def test_colours_become_classes() -> None:
    assert str(ansi.to_html("\x1b[1;32mdone\x1b[0m now")) == (
        '<span class="ansi-b ansi-fg-green">done</span><span class=""> now</span>'
    )


@pytest.mark.parametrize("text", [SCRIPT, f"\x1b[31m{SCRIPT}", f"\x1b]0;{SCRIPT}\x07", "\x1b[31m\x1b[<script>m"])
def test_colours_escape_what_is_between(text: str) -> None:
    assert "<script" not in ansi.to_html(text)


@pytest.mark.parametrize("text", ["\x1b[38m", "\x1b[38;5m", "\x1b[38;2;1m", "\x1b[999m", "\x1b[;;m", "\x1b"])
def test_broken_colours_are_no_failure(text: str) -> None:
    assert "kept" in ansi.to_html(text + "kept")


def test_cursor_movements_are_left_out() -> None:
    assert ansi.to_html("\x1b[2J\x1b[Ha\x1b[31mb") == '<span class="">a</span><span class="ansi-fg-red">b</span>'


def test_a_colour_a_letter_makes_no_endless_page() -> None:
    html = ansi.to_html("\x1b[31ma" * 50_000)
    assert html.count("<span") <= ansi.MOST_PIECES + 1
    assert words(html).replace(" ", "").count("a") == 50_000


# --- The result ---


def test_result_is_a_tree(browser: Browser, make_execution: MakeExecution) -> None:
    html = page(browser, make_execution(result=json.dumps({"rows": [1, {"a": None}]})))
    assert "{…} 1 key rows : […] 2 items 0 : 1 1 : {…} 1 key a : null" in words(html)


@pytest.mark.parametrize(
    "text", ["[" * 5000 + "]" * 5000, json.dumps(list(range(10_000))), "no json", '"\\ud800"']
)
def test_any_result_is_shown(text: str) -> None:
    tree(text).encode()


def test_result_is_escaped() -> None:
    assert "<script" not in tree(json.dumps({SCRIPT: SCRIPT}))


# --- Why ---


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome != Outcome.COMPLETED])
def test_every_other_end_is_explained(make_execution: MakeExecution, outcome: Outcome) -> None:
    told = explain(make_execution(status=Status.FAILED, outcome=outcome, exit_code=3, signal=11))
    assert told
    assert told.what


def test_a_good_end_needs_no_words(make_execution: MakeExecution) -> None:
    assert explain(make_execution()) is None


def test_missing_package_is_recognised(browser: Browser, make_execution: MakeExecution) -> None:
    stderr = "ModuleNotFoundError: No module named 'polars'"
    execution = make_execution(status=Status.FAILED, outcome=Outcome.NONZERO_EXIT, exit_code=1, stderr=stderr)
    assert "The program seems to need a package" in page(browser, execution)


def test_memory_limit_is_named(browser: Browser, make_execution: MakeExecution) -> None:
    html = page(browser, make_execution(status=Status.OUT_OF_MEMORY, outcome=Outcome.MEMORY))
    assert "needed more memory than its limit of 256 MiB" in html


# --- Artifacts ---


def test_files_that_were_not_returned_are_named_beside_those_that_were(
    browser: Browser, make_execution: MakeExecution
) -> None:
    execution = make_execution(artifact_count=1, message="Files not returned: a.bmp (file type not returned).")
    artifact(execution, "kept.csv", b"1")
    html = page(browser, execution)
    assert html.count("a.bmp") == 1
    assert html.index('id="missing"') < html.index("a.bmp") < html.index("kept.csv") < html.index("Provenance")


def artifact(execution: Execution, name: str, content: bytes) -> Artifact:
    return Artifact.objects.create(execution=execution, name=name, content=content, size=len(content))


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "picture.png", "table.csv", "sheet.pdf", "noname"])
def test_nothing_in_an_artifact_runs(browser: Browser, make_execution: MakeExecution, name: str) -> None:
    execution = make_execution(artifact_count=1)
    response = browser.get(address(execution, "preview", artifact(execution, name, SCRIPT.encode()).pk))
    assert SCRIPT not in response.content.decode()
    policy = response["Content-Security-Policy"]
    assert policy.startswith("sandbox;")
    assert "allow-" not in policy
    assert response["X-Content-Type-Options"] == "nosniff"


def test_image_is_what_its_bytes_are() -> None:
    assert previews.kind_of("page.html", b"\x89PNG\r\n\x1a\n") == "image/png"
    assert previews.kind_of("fake.png", b"<script>alert(1)") == ""


def test_pdf_comes_as_pdf_and_nothing_else(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(artifact_count=1)
    response = browser.get(address(execution, "preview", artifact(execution, "x.html", b"%PDF-1.7 ...").pk))
    assert response["Content-Type"] == "application/pdf"
    assert "script-src" not in response["Content-Security-Policy"]
    assert response["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_only_a_pdf_is_framed_without_the_attribute(browser: Browser, make_execution: MakeExecution) -> None:
    """Chromium's viewer is not shown in a frame that has it."""
    execution = make_execution(artifact_count=2)
    artifact(execution, "report.html", b"%PDF-1.7 ...")
    artifact(execution, "report.pdf", b"<script>")
    artifact(execution, "table.csv", b"a,b")
    html = page(browser, execution)
    assert html.count('<iframe title="Preview of report.html"') == 1
    assert html.count("<iframe sandbox ") == 1
    assert "Preview of report.pdf" not in html


def test_csv_is_a_table(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(artifact_count=1)
    html = browser.get(
        address(execution, "preview", artifact(execution, "t.csv", b"month,eur\n1,<b>\n").pk)
    ).content
    assert b'<th scope="col">eur</th>' in html
    assert b"<td>&lt;b&gt;</td>" in html


@pytest.mark.parametrize("content", [b"\0\xff\xfe", b'"' * 100, b"," * 300_000, b""])
def test_any_csv_is_no_failure(browser: Browser, make_execution: MakeExecution, content: bytes) -> None:
    execution = make_execution(artifact_count=1)
    assert browser.get(address(execution, "preview", artifact(execution, "t.csv", content).pk)).status_code == 200


# --- What one can do with it ---


def test_operator_cancels(visitor: Visitor, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.QUEUED)
    visitor("operator").post(address(execution, "cancel"))
    execution.refresh_from_db()
    assert (execution.status, execution.outcome) == (Status.CANCELLED, Outcome.CANCEL_REQUESTED)


@pytest.mark.parametrize("name", ["cancel", "rerun"])
def test_auditor_does_nothing(visitor: Visitor, make_execution: MakeExecution, name: str) -> None:
    execution = make_execution(status=Status.QUEUED)
    assert visitor("auditor").post(address(execution, name)).status_code == 403
    execution.refresh_from_db()
    assert execution.status == Status.QUEUED


def test_auditor_is_offered_nothing(visitor: Visitor, make_execution: MakeExecution) -> None:
    html = page(visitor("auditor"), make_execution(status=Status.RUNNING))
    assert "Cancel</button>" not in html


def test_cancelling_takes_more_than_a_link(browser: Browser, make_execution: MakeExecution) -> None:
    assert browser.get(address(make_execution(), "cancel")).status_code == 405


def test_rerun_without_a_keeper_says_so(
    browser: Browser, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.images.PATIENCE_S", 0.05)
    assert "No keeper answers" in browser.get(address(make_execution(), "rerun")).content.decode()


# --- Watching ---


def test_an_open_one_is_watched(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.RUNNING)
    assert f'data-events="{address(execution, "events")}"' in page(browser, execution)


def test_one_that_ended_is_not(browser: Browser, make_execution: MakeExecution) -> None:
    assert "data-events" not in page(browser, make_execution())


def test_events_are_for_those_who_may_look(client: Browser, make_execution: MakeExecution) -> None:
    assert client.get(address(make_execution(), "events")).status_code == 302


def test_nothing_comes_after_the_end(browser: Browser, make_execution: MakeExecution) -> None:
    headers = {"Last-Event-ID": "0.0.closed"}
    assert browser.get(address(make_execution(), "events"), headers=headers).status_code == 204


def test_code_is_in_colour(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(code="def main(): pass", source_file="main.py", started_at=timezone.now())
    assert '<span class="k">def</span>' in page(browser, execution)


@pytest.mark.parametrize("number, others", [(0, False), (2, False), (6, True)])
def test_later_runs_of_one_are_named(
    browser: Browser, make_execution: MakeExecution, number: int, others: bool
) -> None:
    earlier = make_execution()
    later = [make_execution(rerun_of=earlier.pk) for _ in range(number)]
    shown = page(browser, earlier)
    assert ("Reruns" in words(shown)) == bool(number)
    named = [run.pk for run in later if address(run, "change") in shown]
    assert len(named) == min(number, 5)
    assert (f"?rerun_of={earlier.pk}" in shown) == others


@pytest.mark.parametrize(
    ("engine", "shown"),
    [
        ("direct", "Direct, gVisor v1"),
        ("docker", "Docker, gVisor v1"),
        ("", "unknown, gVisor v1"),
    ],
)
def test_engine_is_shown(browser: Browser, make_execution: MakeExecution, engine: str, shown: str) -> None:
    execution = make_execution(engine=engine, runsc_version="v1")
    assert f"Engine {shown}" in words(page(browser, execution))
