import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from clients.models import Client
from executions.admin import ansi, previews
from executions.admin.explain import explain
from executions.admin.json_tree import tree
from executions.limits import effective_limits
from executions.models import Artifact, Execution, Outcome, Status
from runtimes.models import Runtime
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
    "text", ["[" * 5000 + "]" * 5000, json.dumps(list(range(10_000))), "no json", '"\\ud800"', '{"\\ud800": 1}']
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


@pytest.mark.parametrize(
    "cpu_ms, words_of_it",
    [
        (300, "used 300 ms of CPU time in 10 s. It probably waited"),
        (2700, "used 2.7 s of CPU time in 10 s. It computed for a part of the time"),
        (9900, "used 9.9 s of CPU time in 10 s. Make it do less"),
        (None, "Make the program do less"),
    ],
)
def test_use_of_the_cpu_is_told_with_its_figures(
    make_execution: MakeExecution, cpu_ms: int | None, words_of_it: str
) -> None:
    now = timezone.now()
    execution = make_execution(
        status=Status.TIMED_OUT, outcome=Outcome.WALL_TIME, cpu_ms=cpu_ms, started_at=now - timedelta(seconds=10),
        ended_at=now,
    )  # fmt: skip
    assert words_of_it in " ".join(told.remedies if (told := explain(execution)) else [])


@pytest.mark.parametrize(
    "requested, cap, words_of_it",
    [
        (5000, None, "was this run's own. A request may ask for up to 10 s, the limit of the runtime python."),
        (None, None, "The run had the limit of the runtime python. An administrator can raise it."),
        (None, 7000, "The run had the cap of the client ours. An administrator can raise it."),
    ],
)
def test_whose_a_limit_is_is_told(
    make_execution: MakeExecution,
    python_runtime: Runtime,
    requested: int | None,
    cap: int | None,
    words_of_it: str,
) -> None:
    python_runtime.wall_time_ms = 10_000
    python_runtime.save()
    client = Client.objects.create(name="ours", max_wall_time_ms=cap)
    wanted = {} if requested is None else {"wall_time_ms": requested}
    limits = effective_limits(python_runtime, client, wanted).as_dict()
    execution = make_execution(status=Status.TIMED_OUT, outcome=Outcome.WALL_TIME, client=client, limits=limits)
    told = explain(execution)
    assert told and told.remedies[-1].endswith(words_of_it)


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


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "notes.md", "table.csv", "sheet.pdf", "noname"])
def test_nothing_in_an_artifact_runs(browser: Browser, make_execution: MakeExecution, name: str) -> None:
    execution = make_execution(artifact_count=1)
    content = f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>"
    file = artifact(execution, name, content.encode())
    response = browser.get(address(execution, "artifact_preview", file.pk))
    policy = response["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none';")
    assert "allow-" not in policy and "script" not in policy and "http" not in policy
    assert response["X-Content-Type-Options"] == "nosniff"
    # What is rendered is in a frame with the attribute, or an image; all else is escaped.
    rendered = {"page.html": "text/html; charset=utf-8", "picture.svg": "image/svg+xml"}
    if name in rendered:
        assert response["Content-Type"] == rendered[name]
        shown = page(browser, execution)
        assert "<iframe sandbox " in shown if name == "page.html" else '<img src="' in shown
    else:
        assert SCRIPT not in response.content.decode()


def test_a_page_in_a_tab_of_its_own_is_source(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(artifact_count=1)
    url = address(execution, "artifact_preview", artifact(execution, "page.html", b"<h1>Log in</h1>").pk)
    assert b"<h1>Log in</h1>" in browser.get(url, headers={"Sec-Fetch-Dest": "iframe"}).content
    assert b"&lt;h1&gt;Log in&lt;/h1&gt;" in browser.get(url, headers={"Sec-Fetch-Dest": "document"}).content


def test_markdown_is_rendered(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(artifact_count=1)
    text = b"# Report\n\n|a|b|\n|-|-|\n|1|2|\n\n[no](javascript:alert(1)) <b>"
    html = browser.get(
        address(execution, "artifact_preview", artifact(execution, "r.md", text).pk)
    ).content.decode()
    assert "<h1>Report</h1>" in html and "<td>2</td>" in html
    assert 'href="javascript' not in html and "&lt;b&gt;" in html


def test_the_frame_of_a_short_text_is_low(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(artifact_count=2)
    artifact(execution, "short.txt", b"one\ntwo\n")
    artifact(execution, "long.txt", b"line\n" * 900)
    html = page(browser, execution)
    assert "height: 120px" in html and "height: 420px" in html


def test_image_is_what_its_bytes_are() -> None:
    assert previews.kind_of("page.html", b"\x89PNG\r\n\x1a\n") == "image/png"
    assert previews.kind_of("fake.png", b"<script>alert(1)") == ""
    assert previews.kind_of("fake.svg", b"<script>alert(1)") == "text"


def test_pdf_comes_as_pdf_and_nothing_else(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(artifact_count=1)
    response = browser.get(
        address(execution, "artifact_preview", artifact(execution, "x.html", b"%PDF-1.7 ...").pk)
    )
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
        address(execution, "artifact_preview", artifact(execution, "t.csv", b"month,eur\n1,<b>\n").pk)
    ).content
    assert b'<th scope="col">eur</th>' in html
    assert b"<td>&lt;b&gt;</td>" in html


@pytest.mark.parametrize("content", [b"\0\xff\xfe", b'"' * 100, b"," * 300_000, b""])
def test_any_csv_is_no_failure(browser: Browser, make_execution: MakeExecution, content: bytes) -> None:
    execution = make_execution(artifact_count=1)
    assert (
        browser.get(address(execution, "artifact_preview", artifact(execution, "t.csv", content).pk)).status_code
        == 200
    )


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
