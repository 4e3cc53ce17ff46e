from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.scaling import __main__ as main
from bench.scaling import page
from bench.scaling.noop import FOLDER, NoopEngine
from bench.scaling.observing import Figures
from sandboxes.engine import SandboxSpec
from sandboxes.layout import ROW_LABEL
from sandboxes.session import EndedBy, Session, wait_until_ready
from tests.sandboxes.guest import LIMITS, job

QUIET = Figures(
    kind="runs", nodes=1, workers=4, runs=400, rate=40.0, cpu_ms={"worker": 10.0, "Postgres": 5.0},
    transactions=12.0, wal=9000.0, connections={"worker": 6.0}, busy=0.3, busiest=("worker", 0.2),
)  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NoopEngine]:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return NoopEngine()


def test_a_sandbox_that_does_nothing_answers_each_job(engine: NoopEngine) -> None:
    sandbox = engine.create(SandboxSpec(image="none", limits=LIMITS, labels={ROW_LABEL: "7"}))
    starting = engine.attach(sandbox)
    engine.start(sandbox)
    wait_until_ready(starting, sandbox)
    starting.close()
    channel = engine.attach(sandbox)
    report = Session(channel, sandbox, LIMITS).run(job("print(1)"))
    channel.close()
    assert (report.ended_by, report.result) == (EndedBy.RUNNER, b"1")
    assert report.end is not None
    assert report.end.exit_code == 0


def test_processes_of_a_node_share_its_sandboxes(engine: NoopEngine) -> None:
    sandbox = engine.create(SandboxSpec(image="none", limits=LIMITS, labels={ROW_LABEL: "7"}))
    other = NoopEngine()
    assert [(each.id, each.sandbox, each.running) for each in other.containers()] == [(sandbox, "7", True)]
    other.remove(sandbox)
    assert engine.containers() == []
    engine.remove(sandbox)  # succeeds for one that is gone


@pytest.mark.parametrize(
    ("figures", "bound"),
    [
        ({}, "the number of workers"),
        ({"busy": 0.95}, "CPU of the machine, 20% of it for worker"),
        ({"busiest": ("pusher", 0.9)}, "one core: the pusher"),
        ({"waits": {"IO WalSync": 0.4, "LWLock WALWrite": 0.2}}, "Postgres' writes to disk (60% of what"),
        ({"waits": {"IO WalSync": 0.4, "CPU": 0.6}}, "the number of workers"),
        ({"busy": 0.95, "others": 0.5}, "other work took 50%"),
    ],
)
def test_what_bounds_the_rate_is_named(
    monkeypatch: pytest.MonkeyPatch, figures: dict[str, Any], bound: str
) -> None:
    monkeypatch.setattr("bench.scaling.observing.os.cpu_count", lambda: 2)
    assert bound in replace(QUIET, **figures).bound


def test_shapes_double_until_the_rate_stops_growing() -> None:
    rates = {(1, 1): 10.0, (1, 2): 20.0, (1, 4): 30.0, (1, 8): 31.0, (2, 4): 45.0, (4, 4): 46.0}
    rows: list[Figures] = []

    def measure(nodes: int, workers: int, runs: int) -> Figures:
        return replace(QUIET, nodes=nodes, workers=workers, runs=runs, rate=rates[nodes, workers])

    best = main.growing(measure, 10, 15, rows)
    assert (best.nodes, best.workers) == (2, 4)
    assert [(row.nodes, row.workers) for row in rows] == list(rates)
    # Enough for the time, if the rate doubled.
    assert [row.runs for row in rows] == [150, 200, 400, 600, 600, 900]


def test_no_further_shape_is_begun_when_the_time_is_over() -> None:
    rows: list[Figures] = []
    measure = partial(replace, QUIET)
    main.growing(
        lambda nodes, workers, runs: measure(nodes=nodes, workers=workers, runs=runs), 10, 15, rows, until=0
    )
    assert [(row.nodes, row.workers) for row in rows] == [(1, 1)]


def test_arithmetic_follows_from_the_measurement() -> None:
    text = page.arithmetic([QUIET], {"row": 2000.0, "seal": 400.0})
    assert "| runs a second | 0.2 | 16.7 | 1,666.7 |" in text
    assert "| of them cores for worker | 0.00 | 0.17 | 16.67 |" in text
    assert "| transactions of Postgres a second | 2 | 200 | 20,000 |" in text
    assert "| of the queue's measured best | 0.00 × | 0.42 × | 41.67 × |" in text


def test_what_was_not_measured_is_a_blank() -> None:
    lines = page.arithmetic([], {}).splitlines()
    assert f"| WAL, MiB a second | {' | '.join([page.BLANK] * 3)} |" in lines
    assert f"| disk, GiB a day | {' | '.join([page.BLANK] * 3)} |" in lines


def test_the_tables_are_written_between_their_markers(tmp_path: Path) -> None:
    there = tmp_path / "page.md"
    places = "".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->\nkept\n" for name in page.SECTIONS)
    there.write_text(f"above\n{places}")
    page.write(("one", "two"), there)
    text = there.read_text()
    assert "old" not in text
    assert text.startswith("above\n<!-- bench.scaling: begin -->\none\n<!-- bench.scaling: end -->\nkept\n")
    assert text.endswith(": begin -->\ntwo\n<!-- bench.scaling arithmetic: end -->\nkept\n")


def test_a_page_without_the_markers_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "page.md"
    there.write_text("nothing")
    with pytest.raises(SystemExit, match="no place for bench.scaling"):
        page.write(("one", "two"), there)


def test_docs_have_the_places() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- {name}: {word} -->\n" in text for name in page.SECTIONS for word in ("begin", "end"))
