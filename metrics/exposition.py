"""The text that Prometheus reads: what is counted, and the figures of all rooms."""

import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate

from django.conf import settings
from django.db import connection, transaction
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from metrics.adding import labels_of, tallies
from metrics.counting import Counter, Histogram
from metrics.models import Tally
from sandbox_platform.kit import metrics
from sandbox_platform.kit.metrics import PREFIX, Figure, Kind, Reading

# Longest statement of a scrape: Prometheus waits for 10 seconds unless it is told otherwise.
STATEMENT_MS = 5_000
Labelled = Iterable[tuple[list[str], Tally]]


class Platform(Collector):
    """Reads everything from the database, so each process of the web tells the same."""

    def collect(self) -> Iterator[Metric]:
        began = time.monotonic()
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(STATEMENT_MS)])
            yield from _about()
            for reading in metrics.declared():
                yield from _read(reading)
            for metric, rows in tallies():
                yield _counted(metric, rows) if isinstance(metric, Counter) else _histogram(metric, rows)
        took = GaugeMetricFamily(f"{PREFIX}scrape_seconds", "Time that this scrape took.")
        took.add_metric([], time.monotonic() - began)
        yield took


def exposition(accept: str) -> tuple[bytes, str]:
    """Return the text and its content type, for an Accept header."""
    registry = CollectorRegistry()
    registry.register(Platform())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _about() -> Iterator[Metric]:
    info = GaugeMetricFamily(
        f"{PREFIX}build_info", "Versions of the platform.", labels=["version", "python", "postgres"]
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT split_part(current_setting('server_version'), ' ', 1)")
        (postgres,) = cursor.fetchone()
    info.add_metric([settings.VERSION, platform.python_version(), postgres], 1)
    yield info


def _read(reading: Reading) -> Iterator[Metric]:
    values = defaultdict(list)
    for value in reading.read():
        values[value.figure].append(value)
    for figure in reading.figures:
        family = _family(figure)
        for value in values[figure.name]:
            family.add_metric(list(value.labels), value.value)
        yield family


def _family(figure: Figure) -> CounterMetricFamily | GaugeMetricFamily:
    family = CounterMetricFamily if figure.kind == Kind.COUNTER else GaugeMetricFamily
    return family(PREFIX + figure.name, figure.help_text, labels=figure.labels)


def _counted(counter: Counter, rows: Labelled) -> CounterMetricFamily:
    family = CounterMetricFamily(PREFIX + counter.name, counter.help_text, labels=counter.labels)
    for labels, row in rows:
        family.add_metric(labels, row.value)
    if not counter.labels and not family.samples:
        family.add_metric([], 0)
    return family


def _histogram(histogram: Histogram, rows: Labelled) -> HistogramMetricFamily:
    family = HistogramMetricFamily(PREFIX + histogram.name, histogram.help_text, labels=labels_of(histogram))
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    for labels, row in rows:
        if len(row.buckets) == len(bounds):
            family.add_metric(labels, list(zip(bounds, accumulate(row.buckets), strict=True)), row.value)
    return family
