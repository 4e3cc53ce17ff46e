import subprocess
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from scripts.setup import docker
from scripts.setup.docker import wait_until
from scripts.setup.host import SetupError, parse_os_release, parse_version, redact


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Docker version 26.1.5+dfsg1, build a72d7cd", (26, 1, 5)),
        ("Docker Compose version 2.26.1-4", (2, 26, 1)),
        ("Docker Compose version v2.29.7", (2, 29, 7)),
        ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", (0, 13, 1)),
        ("6.18.44-fc-v669", (6, 18, 44)),
        ("docker: 'compose' is not a docker command.", ()),
    ],
)
def test_versions_are_found_in_what_tools_print(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def test_versions_compare_as_numbers() -> None:
    assert parse_version("2.9.0") < (2, 26, 1) < parse_version("10.0")
    assert parse_version("nothing") < (1,)


def test_the_release_is_read_with_and_without_quotes() -> None:
    here = parse_os_release('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n')
    assert (here.distribution, here.version, here.codename) == ("debian", "12", "bookworm")


def test_a_mirrors_password_never_reaches_the_log() -> None:
    assert redact("GET https://user:p4ss@mirror.example/x") == "GET https://***@mirror.example/x"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """Time that passes only while the code sleeps, so that a busy machine has no say."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(docker, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    return lambda: now[0]


@pytest.mark.usefixtures("clock")
def test_waiting_ends_when_nothing_changes_any_more() -> None:
    with pytest.raises(SetupError, match="nothing has changed for 0 s"):
        wait_until(lambda: False, 0.3, "an end", "wait", progress=lambda: "the same")


def test_waiting_goes_on_while_something_changes(clock: Callable[[], float]) -> None:
    wait_until(lambda: clock() > 1.5, 0.6, "an end", "wait", progress=clock)


def test_waiting_has_an_end_and_says_what_it_waits_for(
    clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for a daemon that logs for ever and never answers."""
    monkeypatch.setattr(docker, "LONGEST_S", 0.6)
    monkeypatch.setattr(docker, "TOLD_EVERY_S", 0.2)
    with pytest.raises(SetupError, match="though something goes on"):
        wait_until(lambda: clock() > 10, 0.5, "Docker answers", "see its log", progress=clock)
    assert "waiting until Docker answers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "left_out"), [("disabled\n", True), ("enabled\n", False), ("masked\n", False), ("not-found\n", False)]
)
def test_daemon_that_systemd_does_not_start_at_boot(
    monkeypatch: pytest.MonkeyPatch, said: str, left_out: bool
) -> None:
    answer = subprocess.CompletedProcess([], 1, said, "")
    monkeypatch.setattr(docker, "run", lambda command: answer)
    assert docker.is_left_out_at_boot() is left_out
