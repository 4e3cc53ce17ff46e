"""What is counted over time: events, and the counters and histograms that add them up.

The history is purged, so its rows cannot be counted at a scrape: a counter would go down. Triggers report each event
(migrations/counting.sql), and a job adds it to its tallies (adding.py).
"""

from dataclasses import dataclass

from django.db.models import TextChoices

# Seconds. A warm run takes some hundredths; a program may take an hour.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
# The label whose value is a runtime's key in the tallies, and its slug at a scrape.
RUNTIME = "runtime"


@dataclass(frozen=True)
class EventKind:
    """`labels` and `amounts`: names of what the arrays of its rows hold, in order."""

    name: str
    labels: tuple[str, ...]
    amounts: tuple[str, ...] = ()


class Phase(TextChoices):
    QUEUE = "queue", "waits for a worker"
    CLAIM = "claim", "waits for a sandbox"
    ATTACH = "attach", "sends the job"
    RUN = "run", "runs the program"
    STORE = "store", "stores the result"


RUN = EventKind("run", ("runtime", "client", "status", "outcome", "sandbox"), (*Phase.values, "cpu", "requeues"))
START = EventKind("start", ("engine", "result"), ("seconds",))
REFUSAL = EventKind("refusal", ("kind",))
ATTEMPT = EventKind("attempt", ("answer",), ("seconds",))
DELIVERY = EventKind("delivery", ("status",))
MESSAGE = EventKind("message", ("result",))
REQUEST = EventKind("request", ("door", "code"), ("seconds",))
EVENTS = {kind.name: kind for kind in (RUN, START, REFUSAL, ATTEMPT, DELIVERY, MESSAGE, REQUEST)}


@dataclass(frozen=True)
class Counter:
    """Adds an amount of each event, or 1. `name`: with `total` at its end."""

    name: str
    help_text: str
    event: EventKind
    labels: tuple[str, ...]
    amount: str = ""


@dataclass(frozen=True)
class Histogram:
    """Counts an amount of each event by size.

    `by`: a further label, whose values are the names of the amounts that are counted.
    """

    name: str
    help_text: str
    event: EventKind
    labels: tuple[str, ...]
    amounts: tuple[str, ...]
    by: str = ""
    bounds: tuple[float, ...] = SECONDS

    @property
    def all_labels(self) -> tuple[str, ...]:
        return (*self.labels, self.by) if self.by else self.labels


COUNTERS = (
    Counter(
        "runs_total",
        "Executions that ended, by runtime, role of the client (none: without a token), status and outcome.",
        RUN,
        ("runtime", "client", "status", "outcome"),
    ),
    Counter("claims_total", "Runs by how they got their sandbox: warm or cold.", RUN, ("runtime", "sandbox")),
    Counter("run_cpu_seconds_total", "CPU time of programs.", RUN, ("runtime",), "cpu"),
    Counter(
        "requeues_total", "Times that a run was queued again after a fault of the platform.", RUN, (), "requeues"
    ),
    Counter(
        "starts_total",
        "Starts of sandboxes by engine and result: ready, failed or abandoned.",
        START,
        START.labels,
    ),
    Counter(
        "refusals_total", "Requests refused because of a quota, a permission or the load.", REFUSAL, ("kind",)
    ),
    Counter(
        "callback_attempts_total", "Requests that delivered callbacks, by class of answer.", ATTEMPT, ("answer",)
    ),
    Counter(
        "callbacks_total", "Callbacks that are delivered, failed for good or were given up.", DELIVERY, ("status",)
    ),
    Counter("alert_messages_total", "Messages about alerts that were sent, or failed.", MESSAGE, ("result",)),
    Counter("http_requests_total", "Answers of the web, by door and class of status.", REQUEST, REQUEST.labels),
)
HISTOGRAMS = (
    Histogram(
        "phase_seconds",
        "Time of the phases of runs: queue, claim, attach, run, store.",
        RUN,
        ("runtime",),
        tuple(Phase.values),
        by="phase",
    ),
    Histogram("start_seconds", "Time of starts of sandboxes that became ready.", START, ("engine",), ("seconds",)),
    Histogram("callback_seconds", "Time of the requests that delivered callbacks.", ATTEMPT, (), ("seconds",)),
    Histogram(
        "http_request_seconds",
        "Time until the answer's head, which at /run and with `wait` has the run in it.",
        REQUEST,
        ("door",),
        ("seconds",),
    ),
)
