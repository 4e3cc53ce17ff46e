"""Break every part of a platform while it runs programs, and see what is lost: `make chaos`.

Starts a platform of its own as plain processes, whose parts come back by themselves as Compose's services do. For each
fault of faults.py it sends executions, lets the fault happen when an eighth of them have ended, and waits until all
have ended and the pool has its size. Then it compares what callers were promised with the rows, and the host with what
it was before. Needs Docker, the images, root and a C compiler. It exits with 1 if anything
was lost, untrue or left over.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import django

# tests.live imports models, which need Django to be set up.
os.environ.setdefault("DJANGO_SECRET_KEY", "bench-only")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
os.environ["SANDBOX_ENGINE"] = "direct"
django.setup()

from bench.chaos.faults import DOCKER_FAULTS, FAULTS, Fault  # noqa: E402
from bench.chaos.judging import Verdict, judge, traces, until_quiet  # noqa: E402
from bench.chaos.load import Load, Receiver  # noqa: E402
from bench.chaos.outside import Outside  # noqa: E402
from bench.chaos.parts import Chaotic  # noqa: E402
from bench.client import load as machine_load  # noqa: E402
from scripts.setup import apt  # noqa: E402
from tests.database import shared_templates  # noqa: E402
from tests.executions.test_resilience import WITNESS  # noqa: E402
from tests.live import eventually  # noqa: E402
from tests.private_docker import private_docker  # noqa: E402

HEAD = """| fault | accepted | ends | served again after | all ended after | pool back after | what broke |
|---|--:|---|--:|--:|--:|---|"""


def break_it(platform: Chaotic, receiver: Receiver, fault: Fault, runs: int) -> Verdict:
    before = traces(platform)
    earlier = {row["id"] for row in platform.sql("SELECT id::text FROM executions_execution")}
    load = Load(platform, receiver)
    load.send(runs)
    done = "SELECT count(*) FROM executions_execution WHERE finished_at IS NOT NULL"
    eventually(lambda: platform.sql(done)[0]["count"] >= len(earlier) + runs / 8, "some have ended", 120)
    fault.happens(platform)
    return judge(platform, load, receiver, before, earlier)


def line(fault: Fault, verdict: Verdict) -> str:
    ends = ", ".join(f"{number} {end}" for end, number in verdict.ends.most_common())
    times = (verdict.served_s, verdict.ended_s, verdict.back_s)
    back = " | ".join("never" if seconds is None else f"{seconds:.0f} s" for seconds in times)
    broken = "; ".join(verdict.broken[:3]) + (
        f"; and {more} more" if (more := len(verdict.broken) - 3) > 0 else ""
    )
    return f"| {fault.name} | {verdict.accepted} | {ends} | {back} | {broken or 'nothing'} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="executions for each fault")
    parser.add_argument(
        "--engine", choices=("direct", "docker"), default="direct",
        help="docker: the faults of Docker's own parts, in an engine of its own",
    )  # fmt: skip
    parser.add_argument("--only", default="", metavar="TEXT", help="only faults whose name holds TEXT")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table to FILE")
    options = parser.parse_args()
    if shutil.which("cc") is None:
        apt.install(["gcc", "libc6-dev"])
    faults = FAULTS if options.engine == "direct" else DOCKER_FAULTS
    chosen = [fault for fault in faults if options.only in fault.name]
    lines = [
        f"{options.runs} executions for each fault, {os.cpu_count()} cores, load before {machine_load()},"
        f" engine {options.engine}, {datetime.now(UTC):%Y-%m-%d}. Seconds count from the end of the fault; the pool"
        " is back when every execution has ended and it has its size.",
        "",
        HEAD,
    ]
    failed = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by default nothing would be stopped and removed
    with shared_templates(), tempfile.TemporaryDirectory(prefix="chaos-") as folder, ExitStack() as stack:
        docker = stack.enter_context(private_docker()) if options.engine == "docker" else None
        outside = None if docker else stack.enter_context(Outside(Path(folder)).open("chaos"))
        platform, receiver = (
            Chaotic(Path(folder), docker, outside, SANDBOX_WORKERS="8", SANDBOX_TIMEOUT="30s"),
            Receiver(),
        )
        try:
            platform.start("python")
            platform.sql(WITNESS)
            for fault in chosen:
                until_quiet(platform)
                began = time.monotonic()
                verdict = break_it(platform, receiver, fault, options.runs)
                failed += bool(verdict.broken)
                lines.append(line(fault, verdict))
                print(f"{lines[-1]} ({time.monotonic() - began:.0f} s)", flush=True)
        finally:
            receiver.close()
            platform.stop()
    if options.report:
        options.report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(chosen)} faults, {failed} with findings")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
