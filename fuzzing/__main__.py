"""Fuzz what reads a stranger's bytes, guided by coverage (atheris), and report: `make fuzz`.

ARGS="--minutes 30" is the time of each target (default: 2), --only NAME takes one (may be repeated), --write puts the
figures into docs/reliability.md. Inputs that reach new code are kept in .fuzzing/: the next run starts from them.
Exit status 1: a finding, whose input is in .fuzzing/found/. 2: there is no atheris here.
"""

import argparse
import importlib.util
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".fuzzing"
PAGE = ROOT / "docs/reliability.md"
BEGIN, FINISH = "<!-- make fuzz: begin -->", "<!-- make fuzz: end -->"
EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
NO_FUZZER = 2
# Beyond its own time a target gets this long to end.
GRACE_S = 120


@dataclass(frozen=True)
class Run:
    name: str
    reads: str
    seconds: float
    inputs: int
    kept: int
    holds: bool
    said: str


def run(name: str, reads: str, seconds: int, kept: Path = KEPT) -> Run:
    begun = time.monotonic()
    command: list[str | Path] = [
        sys.executable, "-m", "fuzzing.run", name, "--seconds", str(seconds),
        "--corpus", kept / name, "--found", kept / "found",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False,
            timeout=seconds + GRACE_S,
        )  # fmt: skip
        ended, said = done.returncode == 0, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        ended, said = False, f"it had not ended {GRACE_S} s after its time"
    counted = EXECUTED.search(said)
    return Run(
        name, reads, time.monotonic() - begun, int(counted[1]) if counted else 0,
        len(list((kept / name).iterdir())) if (kept / name).is_dir() else 0,
        ended and counted is not None, said,
    )  # fmt: skip


def table(runs: list[Run]) -> str:
    lines = ["| target | reads | seconds | inputs | kept | |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {one.name} | {one.reads} | {one.seconds:.0f} | {one.inputs:,} | {one.kept:,} |"
        f" {'holds' if one.holds else '**does not hold**'} |"
        for one in runs
    ]
    return "\n".join(lines)


def write(runs: list[Run]) -> None:
    hours = sum(one.seconds for one in runs) / 3600
    head = (
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, load"
        f" {os.getloadavg()[0]:.0f} at the end: {sum(one.inputs for one in runs):,} inputs in {hours:.1f} hours."
    )
    text = PAGE.read_text(encoding="utf-8")
    before, _, after = text.partition(BEGIN)
    _, _, after = after.partition(FINISH)
    PAGE.write_text(f"{before}{BEGIN}\n{head}\n\n{table(runs)}\n{FINISH}{after}", encoding="utf-8")


def missing() -> str:
    """Say why there is no fuzzer on this machine; nothing if there is one."""
    if importlib.util.find_spec("atheris"):
        return ""
    if platform.machine() != "x86_64":
        return (
            f"make fuzz needs atheris, which has no package for {platform.machine()}: run it on x86_64."
            " `make test` tries the seeds of every target on any machine."
        )
    return "make fuzz needs atheris, which is not installed: run `make venv`."


def main() -> int:
    if why := missing():
        print(why, file=sys.stderr)
        return NO_FUZZER
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
    os.environ.setdefault("DJANGO_SECRET_KEY", "only-for-the-names-of-targets")
    os.environ.setdefault("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    import django

    django.setup()
    from fuzzing.targets import TARGETS

    parser = argparse.ArgumentParser(
        prog="make fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2, help="of each target")
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), help="may be repeated; default: all")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {PAGE.name}")
    options = parser.parse_args()
    runs = []
    for name in options.only or TARGETS:
        runs.append(run(name, TARGETS[name].reads, max(1, round(options.minutes * 60))))
        print(table(runs[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
        if not runs[-1].holds:
            print(runs[-1].said[-4000:], file=sys.stderr, flush=True)
    print(table(runs))
    if options.write:
        write(runs)
    return 0 if all(one.holds for one in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
