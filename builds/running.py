"""Run a container of a build to its end, and follow its output."""

import json
import select
from typing import Any

from builds.engine import BuildEngine
from builds.record import BuildFailed, Record
from sandboxes.engine import Channel

POLL_S = 0.5
# Of a line: what an image's interpreters say about themselves.
MAX_LINE = 4 * 1024**2
FACTS = "FACTS "


def run(engine: BuildEngine, container: str, record: Record) -> dict[str, Any]:
    """Start the container, copy its output to the record, and wait for its end. Raises BuildFailed.

    Returns what it said in lines of the form `FACTS name JSON`, by name.
    """
    channel = engine.attach(container)
    try:
        engine.start(container)
        facts = follow(channel, record)
    finally:
        channel.close()
    state = engine.state_after_end(container)
    if state.oom_killed:
        raise BuildFailed("The build exceeded the memory limit of builds.")
    if state.running or state.exit_code != 0:
        raise BuildFailed(record.failure_reason() or f"The installer exited with status {state.exit_code}.")
    return facts


def follow(channel: Channel, record: Record) -> dict[str, Any]:
    """Copy the container's output to the record until the stream ends. Returns the facts."""
    facts: dict[str, Any] = {}
    rest = b""
    while True:
        record.beat()
        if not select.select([channel], [], [], POLL_S)[0]:
            continue
        received = channel.receive()
        if received is None:
            break
        *lines, rest = (rest + b"".join(received)).replace(b"\r", b"\n").split(b"\n")
        if len(rest) > MAX_LINE:
            raise BuildFailed("The build wrote a line that is too long.")
        for line in lines:
            _take(line.decode(errors="replace"), facts, record)
    _take(rest.decode(errors="replace"), facts, record)
    record.beat(now=True)
    return facts


def _take(line: str, facts: dict[str, Any], record: Record) -> None:
    if not line.startswith(FACTS):
        record.line(line)
        return
    _, name, text = line.split(" ", 2) if line.count(" ") > 1 else ("", "", "")
    try:
        facts[name] = json.loads(text)
    except (ValueError, RecursionError):
        record.line("(facts that are no JSON)")
