"""The command `sandbox` with a platform that is not there; with a real one: test_command_live.py."""

import concurrent.futures
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result
from sandbox_client import Artifact, Artifacts, Retries, Sandbox
from sandbox_client.cli import cli, main, running, settings, terminal

Command = Callable[..., Result]
RUNNING = {"id": "7", "status": "running"}
ENDED = {"id": "7", "status": "succeeded", "outcome": "completed", "stdout": "out", "artifact_count": 1}
SHOWN = b'id: 1\nevent: stdout\ndata: {"text": "out"}\n\n'
ODD = "a\x1b[31m\x9b\u202eb"


class Platform:
    """Answers by method and the end of the path; keeps what was asked."""

    def __init__(self, **more: Any) -> None:
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.answers: dict[str, Any] = {
            "POST executions": httpx.Response(201, json=RUNNING),
            "GET events": httpx.Response(200, content=SHOWN + b"event: end\ndata: {}\n\n"),
            "GET 7": httpx.Response(200, json=ENDED),
            "POST cancel": httpx.Response(202, json=RUNNING),
            "GET artifacts": httpx.Response(200, json=[{"name": "a.csv", "size": 6, "content_type": "text/csv"}]),
            "GET a.csv": httpx.Response(200, content=b"theirs"),
        } | more

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = f"{request.method} {request.url.path.rpartition('/')[2]}"
        self.asked.append((request.method, request.url.path))
        self.bodies.append(json.loads(request.content) if request.content else None)
        answer = self.answers[name]
        found = answer() if callable(answer) else answer
        assert isinstance(found, httpx.Response)
        return found

    @property
    def is_cancelled(self) -> bool:
        return ("POST", "/api/v1/executions/7/cancel") in self.asked


@pytest.fixture
def platform_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Platform]:
    def made(retries: int = 0, **more: Any) -> Platform:
        there = Platform(**{name.replace("_", " "): answer for name, answer in more.items()})

        def client(context: click.Context, *, on_upload: Any = None) -> Sandbox:
            transport = httpx.MockTransport(there)
            return Sandbox(
                "http://platform", "t", transport=transport, on_upload=on_upload, retries=Retries(most=retries)
            )

        monkeypatch.setattr(settings, "client", client)
        return there

    return made


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(cli, words)


def refusal(status: int) -> httpx.Response:
    return httpx.Response(status, json={"title": "", "status": status, "detail": "No."})


# -- what a run leaves -----------------------------------------------------------------------------------------


def test_artifacts_replace_nothing_unasked(platform_of: Callable[..., Platform], sandbox: Command) -> None:
    platform_of()
    mine = Path("a.csv")
    mine.write_text("mine")
    for words in (("run", "-o", ".", "-c", "1"), ("artifacts", "7", "-o", ".")):
        done = sandbox(*words)
        assert (done.exit_code, mine.read_text()) == (125, "mine")
        assert "a.csv exists: --overwrite replaces it" in done.output
    assert sandbox("run", "-o", ".", "--overwrite", "-c", "1").exit_code == 0
    assert mine.read_text() == "theirs"


def test_a_folder_that_cannot_be_written_is_told(platform_of: Callable[..., Platform], sandbox: Command) -> None:
    platform_of()
    Path("file").write_text("")
    done = sandbox("run", "-o", "file/folder", "-c", "1")
    assert (done.exit_code, "the artifacts were not saved" in done.output) == (125, True)


def test_names_of_artifacts_do_nothing_to_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.saved(Artifacts([Artifact(ODD, 1, "text/plain", b"x")]), str(tmp_path), overwrite=False)
    assert "saved" in (shown := capsys.readouterr().err)
    assert all(it.isprintable() for it in shown.replace("\n", ""))


def test_messages_do_nothing_to_a_terminal(platform_of: Callable[..., Platform], sandbox: Command) -> None:
    platform_of(GET_7=httpx.Response(200, json={"id": "7", "status": "failed", "outcome": "x", "message": ODD}))
    shown = sandbox("run", "-c", "1").output
    assert "sandbox: failed: a" in shown
    assert all(it.isprintable() for it in shown.replace("\n", ""))


def test_errors_do_nothing_to_a_terminal(
    platform_of: Callable[..., Platform], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = {"title": "", "status": 409, "detail": ODD}
    platform_of(GET_7=httpx.Response(409, json=problem, headers={"X-Request-Id": "r"}))
    assert called(monkeypatch, "show", "7") == 125
    shown = capsys.readouterr().err
    assert "sandbox: request r" in shown
    assert all(it.isprintable() for it in shown.replace("\n", ""))


@pytest.mark.parametrize("is_utf8", [True, False])
def test_json_does_nothing_to_a_terminal(
    is_utf8: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_is_utf8", lambda: is_utf8)
    value = {"stdout": f"{ODD}\x7f\u2066\ud800\n", "é": "日本"}
    terminal.write_json(value)
    shown = capsys.readouterr().out
    assert all(it.isprintable() for it in shown.replace("\n", ""))
    assert (json.loads(shown), "日本" in shown) == (value, is_utf8)


# -- what becomes of the run if something fails ----------------------------------------------------------------


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr("sys.argv", ["sandbox", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_a_run_that_was_submitted_is_named(
    platform_of: Callable[..., Platform], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    platform_of(GET_events=refusal(500), GET_7=refusal(500))
    assert called(monkeypatch, "run", "-n", "-c", "1") == 125
    assert "sandbox logs -f 7" in capsys.readouterr().err
    platform_of(POST_executions=refusal(500))
    assert called(monkeypatch, "run", "-n", "-c", "1") == 125
    assert "logs" not in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_told(
    platform_of: Callable[..., Platform],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    platform_of()
    monkeypatch.setattr(Path, "read_bytes", unreadable)
    (tmp_path / "x.py").write_text("")
    assert called(monkeypatch, "run", "-n", str(tmp_path / "x.py")) == 125
    assert "sandbox: [Errno 13] denied" in capsys.readouterr().err


def unreadable(*_: Any, **__: Any) -> Any:
    raise PermissionError(13, "denied")


def test_output_that_was_shown_is_not_shown_again(platform_of: Callable[..., Platform], sandbox: Command) -> None:
    answers = iter([httpx.Response(200, content=SHOWN), refusal(503)])
    platform_of(retries=1, GET_events=lambda: next(answers))
    done = sandbox("run", "-n", "-c", "1")
    assert (done.stdout, done.exit_code) == ("out", 1)
    assert "No." in str(done.exception)


def test_without_a_place_for_a_stream_the_output_comes_at_the_end(
    platform_of: Callable[..., Platform], sandbox: Command
) -> None:
    platform_of(GET_events=refusal(503))
    done = sandbox("run", "-n", "-c", "1")
    assert (done.stdout, done.exit_code) == ("out", 0)


def interrupting(monkeypatch: pytest.MonkeyPatch, *, then: Callable[[], object]) -> None:
    """Press Ctrl-C while the program is being submitted."""
    wait, pressed = concurrent.futures.wait, threading.Event()

    def interrupted(*args: Any) -> Any:
        if not pressed.is_set():
            pressed.set()
            then()
            raise KeyboardInterrupt
        return wait(*args)

    monkeypatch.setattr(running, "wait", interrupted)


def test_ctrl_c_during_the_submission_cancels_the_run(
    platform_of: Callable[..., Platform], sandbox: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow() -> httpx.Response:
        go.wait(60)
        return httpx.Response(201, json=RUNNING)

    there = platform_of(POST_executions=slow)
    interrupting(monkeypatch, then=go.set)
    monkeypatch.setattr(running, "GRACE_S", 60.0)
    done = sandbox("run", "-n", "-c", "1")
    assert (done.exit_code, there.is_cancelled) == (130, True)


def test_ctrl_c_does_not_wait_forever_for_the_platform(
    platform_of: Callable[..., Platform], sandbox: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def never() -> httpx.Response:
        go.wait(60)
        return refusal(500)

    platform_of(POST_executions=never)
    interrupting(monkeypatch, then=lambda: None)
    monkeypatch.setattr(running, "GRACE_S", 0.01)
    done = sandbox("run", "-n", "-c", "1")
    go.set()
    assert (done.exit_code, "has not said" in done.output) == (130, True)


def test_the_bar_of_an_upload_is_removed_however_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.MESSAGES, "_force_terminal", True)
    upload = terminal.Upload()
    with pytest.raises(KeyboardInterrupt), upload:
        upload(1, terminal.SHOWN_UPLOAD)
        bar = upload._bar
        assert bar and bar.live.is_started
        raise KeyboardInterrupt
    assert not bar.live.is_started
    upload(1, terminal.SHOWN_UPLOAD)
    assert upload._bar is None


# -- which files are sent --------------------------------------------------------------------------------------


def sent(there: Platform) -> dict[str, str]:
    return {it["path"]: it["content"] for it in there.bodies[0].get("files", [])}


@pytest.mark.parametrize("named", [".", "./", "data=.", "./data=."])
def test_a_folder_is_sent_under_paths_that_the_platform_takes(
    named: str, platform_of: Callable[..., Platform], sandbox: Command
) -> None:
    there = platform_of()
    Path("in").mkdir()
    Path("in/x").write_text("1")
    assert sandbox("run", "-n", "-f", named, "-c", "1").exit_code == 0
    assert sent(there) == {"data/in/x" if "data" in named else "in/x": "1"}


def test_files_that_would_be_the_same_are_refused(platform_of: Callable[..., Platform], sandbox: Command) -> None:
    there = platform_of()
    for folder in "ab":
        Path(folder).mkdir()
        Path(folder, "x.py").write_text(folder)
    a, b = (str(Path(folder, "x.py").absolute()) for folder in "ab")
    for words in (("-f", a, "-f", b, "-c", "1"), ("-f", a, b)):
        done = sandbox("run", "-n", *words)
        assert (done.exit_code, "two files would be x.py" in done.output) == (2, True)
    assert not there.asked
    assert sandbox("run", "-n", "-f", a, a).exit_code == 0
    assert sent(there) == {"x.py": "a"}
