"""Attack a platform with the corpus of hostile programs, and report: `make attack`.

Without --url it starts a platform of its own on this machine and removes it afterwards. With --url, --token and
--other-token it attacks any installation as two of its clients. Judges that look at the host take part if the
platform's host is this machine and the harness is root. Exit status 1: something is broken, or a switched-off
protection was not noticed.

ARGS="--family escapes --engine docker" runs a part; --only TEXT: only cases with this in their name; --weakened also
switches off one protection for each family, in platforms of its own; --write puts the result into docs/reliability.md.
"""

import argparse
import os
import platform
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
# The settings want these; the harness itself uses no database.
os.environ.setdefault("DJANGO_SECRET_KEY", uuid.uuid4().hex)
os.environ.setdefault("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
django.setup()

from attacks import corpus, own, report  # noqa: E402
from attacks.client import Client  # noqa: E402
from attacks.corpus import FAMILIES, Case  # noqa: E402
from attacks.harness import Harness, Outcome, Verdict  # noqa: E402
from attacks.host import Host, is_here  # noqa: E402
from attacks.own import Installation  # noqa: E402
from attacks.report import Record  # noqa: E402
from attacks.weakened import WEAKNESSES  # noqa: E402
from sandboxes.engines import ENGINES  # noqa: E402
from tests.database import shared_templates  # noqa: E402

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def tell(outcome: Outcome) -> None:
    say(f"{outcome.verdict:14} {outcome.case.family}: {outcome.case.name}")
    for complaint in outcome.complaints:
        say(f"{'':14}   {complaint}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make attack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", action="append", choices=FAMILIES, help="may be repeated; default: all")
    parser.add_argument("--only", default="", help="only cases with this in their name")
    parser.add_argument("--core", action="store_true", help="only the cases that `make test` runs, too")
    parser.add_argument("--record", type=Path, help="add the verdicts to this file, and report all that is in it")
    parser.add_argument("--again", action="store_true", help="leave out what the record has as held")
    parser.add_argument("--engine", choices=sorted(ENGINES), help="of the own platform; default: SANDBOX_ENGINE")
    parser.add_argument("--url", help="of another installation; needs --token and --other-token")
    parser.add_argument("--token", help="of the client that attacks: a caller without low quotas")
    parser.add_argument("--other-token", help="of another client, whose runs are timed meanwhile")
    parser.add_argument("--api-only", action="store_true", help="do not look at the host")
    parser.add_argument("--weakened", action="store_true", help="also switch off one protection for each family")
    parser.add_argument("--weakened-only", action="store_true", help="only that")
    parser.add_argument("--write", action="store_true", help=f"put the result into {PAGE.name}")
    options = parser.parse_args()
    if options.url and not (options.token and options.other_token):
        parser.error("--url needs --token and --other-token: those of two clients of that installation")
    return options


def chosen(options: argparse.Namespace, record: Record) -> list[Case]:
    held = {(o.case.family, o.case.name) for o in record.outcomes if o.verdict == Verdict.HELD}
    return [
        case
        for case in corpus.load(*(options.family or ()))
        if options.only in case.name
        and (case.core or not options.core)
        and (not options.again or (case.family, case.name) not in held)
    ]


@contextmanager
def attacked(it: Installation, *, on_host: bool) -> Iterator[Harness]:
    with ExitStack() as stack:
        host = stack.enter_context(Host(it.port, it.known).watching()) if on_host else None
        yield Harness(
            lambda: Client(it.url, it.token), lambda: Client(it.url, it.other_token), host, platform.machine()
        )


def attack(options: argparse.Namespace, engine: str, record: Record) -> None:
    """Run the chosen cases and add their verdicts to the record."""
    cases = chosen(options, record)
    record.loads.append(os.getloadavg()[0])
    with ExitStack() as stack:
        if options.url:
            it = Installation(
                options.url.rstrip("/"), options.token, options.other_token, known={"a token": options.token}
            )
        else:
            it = stack.enter_context(own.platform(engine))
        on_host = is_here(it.url) and not options.api_only
        say(f"{len(cases)} cases against {it.url}, judged {'on its host' if on_host else 'by its API alone'}")
        harness = stack.enter_context(attacked(it, on_host=on_host))
        outcomes: list[Outcome] = []

        def take(outcome: Outcome) -> None:
            outcomes.append(outcome)
            tell(outcome)

        try:
            harness.run(cases, take)
        finally:  # an interrupted run, too, is a part
            beside = harness.beside
            record.add(outcomes, (took for _, took in beside.health), (took for _, took in beside.others))
            if options.record:
                record.write(options.record)


def weakened(options: argparse.Namespace) -> Iterator[report.Caught]:
    """Switch off one protection for each family, and run the cases that must notice."""
    with shared_templates():
        yield from _weakened(options)


def _weakened(options: argparse.Namespace) -> Iterator[report.Caught]:
    for name, weakness in WEAKNESSES.items():
        if options.family and weakness.family not in options.family:
            continue
        cases = [case for case in corpus.load(weakness.family) if case.name.startswith(weakness.cases)]
        say(f"{name}: switched off: {weakness.off}; {len(cases)} cases")
        with own.platform(weakness.engine, name) as it, attacked(it, on_host=True) as harness:
            outcomes = harness.run(cases, tell)
        noticed = [o.case.name for o in outcomes if any(weakness.shows in complaint for complaint in o.complaints)]
        yield report.Caught(weakness.family, weakness.off, len(outcomes), noticed)


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    # However it is ended, the platform and the traps are removed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    options = arguments()
    engine = options.engine or os.environ.get("SANDBOX_ENGINE") or "direct"
    record = Record.read(options.record) if options.record else Record()
    sections = {}
    if not options.weakened_only:
        attack(options, engine, record)
        sections[report.ATTACK] = report.section(record)
    caught = list(weakened(options)) if options.weakened or options.weakened_only else []
    if caught:
        sections[report.WEAKENED] = report.weakened_section(caught)
    print("\n\n".join(sections.values()))
    if options.write:
        report.write(PAGE, sections)
    for it in caught:
        verdict = "noticed" if it.broken else "MISSED"
        say(f"{verdict:14} {it.family}: switched off: {it.off}: {', '.join(it.broken) or 'no case'}")
    return int(bool(record.broken()) or any(not it.broken for it in caught))


if __name__ == "__main__":
    sys.exit(main())
