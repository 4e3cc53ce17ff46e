"""Run every case plainly and through the platform, and print a report: `make fidelity`.

ARGS="--runtimes python,c --only fork" runs some of them; --no-suite leaves out Python's and Go's own tests; --engine
direct or docker chooses what starts the sandboxes.
"""

import argparse
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
# The settings want these; the harness uses no database.
os.environ.setdefault("DJANGO_SECRET_KEY", uuid.uuid4().hex)
os.environ.setdefault("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
os.environ["SANDBOX_NODE"] = f"fidelity-{uuid.uuid4().hex[:12]}"  # no keeper of this machine minds its containers
django.setup()

from django.conf import settings  # noqa: E402

from sandboxes.engine import Engine, EngineError  # noqa: E402
from sandboxes.engines import ENGINES  # noqa: E402
from tests.fidelity import cases, deviations, harness, suite  # noqa: E402


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fidelity", description=__doc__)
    parser.add_argument("--runtimes", default="", help="names with commas between; default: all that are built")
    parser.add_argument("--only", default="", help="only cases with this in their name")
    parser.add_argument("--engine", choices=sorted(ENGINES), default=settings.SANDBOX_ENGINE)
    parser.add_argument("--core", action="store_true", help="only the cases that `make test` runs too")
    parser.add_argument("--prefix", default=harness.PREFIX, help="of the images' names")
    parser.add_argument("--no-suite", action="store_true", help="leave out Python's and Go's own tests")
    parser.add_argument("--suite-only", action="store_true", help="run Python's and Go's own tests only")
    return parser.parse_args()


def chosen(engine: Engine, options: argparse.Namespace) -> list[cases.Case]:
    wanted = options.runtimes.split(",") if options.runtimes else None
    found = [
        case
        for case in cases.load()
        if (wanted is None or case.runtime in wanted)
        and options.only in case.name
        and (case.core or not options.core)
    ]
    built = {slug for slug in {case.runtime for case in found} if is_built(engine, options, slug)}
    return [case for case in found if case.runtime in built]


def is_built(engine: Engine, options: argparse.Namespace, slug: str) -> bool:
    try:
        return bool(engine.image_id(f"{options.prefix}{slug}:latest"))
    except EngineError:
        say(f"{slug}: not built, its cases are left out")
        return False


@contextmanager
def own_engine(name: str) -> Iterator[Engine]:
    engine: Engine = ENGINES[name]()
    try:
        yield engine
    finally:
        for container in engine.containers():
            engine.remove(container.id)


def everything(it: harness.Harness, options: argparse.Namespace) -> Iterator[harness.Verdict]:
    if not options.suite_only:
        yield from it.run(chosen(it.engine, options), say)
    if options.no_suite or options.core:
        return
    for slug in options.runtimes.split(",") if options.runtimes else suite.SUITES:
        one = suite.SUITES.get(slug)
        if one and is_built(it.engine, options, slug):
            pieces = one.cases(options.only)
            say(f"{one.title} tests: {len(pieces)} {one.piece}s")
            yield from suite.compare(it, suite.build(one, it.image(slug)), pieces, say)


def report(verdicts: Sequence[harness.Verdict]) -> None:
    print(f"{'runtime':14}{'cases':>7}{'runs':>7}{'agree':>7}{'listed':>8}{'failed':>8}")
    groups: dict[str, list[harness.Verdict]] = {}
    for verdict in verdicts:
        runtime = verdict.case.runtime
        name = suite.SUITES[runtime].title if verdict.kind == harness.SUITE else runtime
        groups.setdefault(name, []).append(verdict)
    for name, of in groups.items():
        print(
            f"{name:14}{len({v.case.name for v in of}):7}{len(of):7}{sum(not v.differs for v in of):7}"
            f"{sum(v.is_listed and bool(v.differs) for v in of):8}{sum(v.failed for v in of):8}"
        )


def main() -> int:
    options = arguments()
    # So that containers are removed when somebody ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    rows = [row for row in deviations.load() if row.engine in ("", options.engine)]
    verdicts = []
    with own_engine(options.engine) as engine:
        it = harness.Harness(engine, options.prefix, rows)
        for verdict in everything(it, options):
            verdicts.append(verdict)
            if verdict.failed:
                print(verdict, "\n", flush=True)
    gone = harness.vanished(rows, verdicts)
    for row in gone:
        print(f"{row.id} agrees, but docs/fidelity.md lists it: remove the row\n")
    report(verdicts)
    return 1 if gone or any(verdict.failed for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
