import subprocess
from pathlib import Path

from scripts.setup.launcher import TIMER_SLACK_NS, script


def launch(tmp_path: Path, runsc: str, *arguments: str) -> str:
    launcher = tmp_path / "runsc"
    launcher.write_text(script(runsc), encoding="utf-8")
    launcher.chmod(0o755)
    return subprocess.run([launcher, *arguments], capture_output=True, text=True, check=True).stdout


def test_what_it_starts_has_slower_timers(tmp_path: Path) -> None:
    assert launch(tmp_path, "/bin/cat", "/proc/self/timerslack_ns") == f"{TIMER_SLACK_NS}\n"


def test_arguments_arrive_as_they_were(tmp_path: Path) -> None:
    assert launch(tmp_path, "/usr/bin/printf", "%s|", "a b", "$(id)", "") == "a b|$(id)||"
