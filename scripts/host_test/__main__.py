"""Boot a Debian 13 guest with systemd and cgroup v2, and try the platform in it: `make host-test`.

Makes a disk by mmdebstrap, with a clone of the commit that is checked out and this machine's mirrors, boots it in QEMU,
runs the steps one after the other and writes a report. The guest is killed and its disk removed at the end, also after
Ctrl-C or SIGTERM; the report then says how far it got. Exits with 1 if a step failed, 130 if it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from scripts.host_test import accelerator, disk, handover, report, steps
from scripts.host_test.guest import Guest
from scripts.setup import apt
from scripts.setup.host import ROOT, SetupError, fail, is_root, must, say, step

PAGE = ROOT / "docs/hosts-tested.md"
COMMIT = "git rev-parse --short=12 HEAD"
FACTS = (
    ". /etc/os-release; echo $PRETTY_NAME $(cat /etc/debian_version); uname -r; systemctl --version | head -1;"
    " (docker --version && docker info --format '{{.CgroupDriver}}, cgroup v{{.CgroupVersion}}') 2> /dev/null;"
    " grep ^SANDBOX_ENGINE= .env 2> /dev/null; ls /usr/local/lib/sandbox-platform/gvisor 2> /dev/null; true"
)


def words(known: Sequence[str], text: str) -> list[str]:
    names = [name for name in text.replace(",", " ").split() if name]
    if unknown := sorted(set(names) - set(known)):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    return names


def positive(text: str) -> float:
    if (number := float(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text}: more than 0")
    return number


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make host-test", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--accel", choices=["auto", *accelerator.ACCELERATORS], default="auto")
    parser.add_argument(
        "--steps", type=lambda text: words(steps.NAMES, text), default=list(steps.NAMES), metavar="A,B",
        help=f"only these, and what they need: {', '.join(steps.NAMES)}",
    )  # fmt: skip
    parser.add_argument("--memory", type=positive, default=8, metavar="GIB", help="of the guest (8)")
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1, help="of the guest (all)")
    parser.add_argument("--patience", type=positive, default=1.0, metavar="N", help="multiply the steps' limits")
    parser.add_argument(
        "--hand-over", type=lambda text: words(handover.KINDS, text), default=[], metavar="A,B",
        help=f"give the guest this machine's {' and '.join(handover.KINDS)} instead of making them there",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="where the guest's files are; one that is there is used again")
    parser.add_argument("--keep", action="store_true", help="leave the guest's files")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument("--write", action="store_true", help="put the report into docs/hosts-tested.md")
    options = parser.parse_args(arguments)
    if options.cpus < 1:
        parser.error("--cpus: at least 1")
    return options


def provide_tools() -> None:
    if missing := disk.missing_tools():
        with step(f"apt packages {' '.join(missing)}"):
            apt.install(missing)


@contextmanager
def working_folder(wanted: Path | None, keep: bool) -> Iterator[Path]:
    folder = wanted or Path(tempfile.mkdtemp(prefix="host-test-", dir="/var/tmp"))  # noqa: S108 -- made by mkdtemp
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if keep:
            say(f"the guest's files are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def make_guest(folder: Path, handed: Sequence[str]) -> None:
    if (folder / "disk.raw").exists():
        disk.refuse_without_kernel(folder)
        return
    with step("a disk with Debian 13"):
        key = folder / "key"
        key.unlink(missing_ok=True)  # of a guest whose disk was removed
        must(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key],
            check="a key for the guest",
            fix="make host-test",
        )
        public = key.with_suffix(".pub").read_text(encoding="utf-8")
        disk.make(folder, public, lambda root: handover.into(root, handed))


def facts_before(options: argparse.Namespace, accel: str, told: str) -> dict[str, str]:
    started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return {
        "when": started,
        "commit": disk.commit()[:12],
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}; QEMU {accelerator.version()}",
        "accelerator": f"{accel}{f' ({told})' if told else ''}",
        "guest's size": f"{options.cpus} CPUs, {options.memory:g} GiB",
        "handed over": ", ".join(options.hand_over) or "nothing",
    }


def try_guest(options: argparse.Namespace) -> int:
    outcomes: list[steps.Outcome] = []
    with working_folder(options.folder, options.keep) as folder:
        make_guest(folder, options.hand_over)
        with step("an accelerator that starts the guest's kernel") as current:
            accel, told = accelerator.choose(options.accel, folder / "vmlinuz")
            facts = facts_before(options, accel, told)
            current.note(facts["accelerator"])
        with Guest(folder, accel, int(options.memory * 1024), options.cpus) as guest:
            chosen = steps.select(options.steps, load=handover.LOAD if "images" in options.hand_over else "")
            for outcome in steps.run_all(guest, chosen, options.patience):
                outcomes.append(outcome)
                if outcome.status == steps.FAILED:
                    # With what `make` says first, and the logs of the services after it.
                    say(outcome.output[-20_000:])
            if any(outcome.status == steps.OK for outcome in outcomes) and guest.is_running:
                # A guest that was there before may have another commit than is checked out here.
                facts["commit"] = guest.run(COMMIT, 120).output.strip() or facts["commit"]
                facts["guest"] = "; ".join(guest.run(FACTS, 120).output.split("\n")).strip("; ")
    text = report.render(facts, outcomes)
    say(text)
    if options.report:
        options.report.write_text(text, encoding="utf-8")
    if options.write:
        report.put(PAGE, text)
    return exit_status(outcomes)


def exit_status(outcomes: Sequence[steps.Outcome]) -> int:
    found = {outcome.status for outcome in outcomes}
    if steps.INTERRUPTED in found:
        return 130
    return 1 if steps.FAILED in found else 0


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        if not is_root():
            raise SetupError("root", "mmdebstrap and the guest's file system need it", "sudo make host-test")
        provide_tools()
        return try_guest(options)
    except SetupError as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
