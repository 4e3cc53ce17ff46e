"""Spans arrive at a receiver that speaks OTLP over HTTP, and cost nothing without one."""

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.live import ROOT

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OFF = """
import sys
from sandbox_platform.kit import tracing
with tracing.span("request") as span:
    tracing.past("queue", None, None)
    print(span, repr(tracing.traceparent()), repr(tracing.current_trace_id()))
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
ON = """
import os
from datetime import UTC, datetime
import django
django.setup()
from sandbox_platform.kit import tracing
from sandbox_platform.kit.logs import _facts
try:
    with tracing.span("request", parent=os.environ["PARENT"], kind="server", **{"sandbox.client_id": 7}) as span:
        print(tracing.traceparent())
        print(tracing.current_trace_id())
        tracing.past("queue", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
        if os.fork():
            os.wait()
        else:
            with tracing.span("execution"):
                pass
            tracing.flush()
            os._exit(0)
        raise ValueError("hunter2")
except ValueError:
    pass
tracing.flush()
"""


class Receiver:
    """Keeps the spans that are sent to it, with their resources and the headers of the requests."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    content = gzip.decompress(content)
                assert self.path == "/v1/traces"
                sent = ExportTraceServiceRequest.FromString(content)
                for resource in sent.resource_spans:
                    receiver.resources.append({a.key: a.value.string_value for a in resource.resource.attributes})
                    receiver.spans += [span for scope in resource.scope_spans for span in scope.spans]
                receiver.headers.append(dict(self.headers.items()))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def run(program: str, **environment: str) -> str:
    base = {"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=base | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "environment", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
                    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}]
)  # fmt: skip
def test_without_an_endpoint_nothing_is_even_imported(environment: dict[str, str]) -> None:
    assert run(OFF, **environment).splitlines() == ["None '' ''", "[]"]


@pytest.fixture(scope="module")
def sent(receiver: Receiver) -> list[str]:
    """What the program with spans printed, after they arrived."""
    return run(
        ON, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_EXPORTER_OTLP_HEADERS="api-key=hidden",
        PARENT=f"00-{TRACE}-{PARENT}-01", SANDBOX_SERVICE="worker", SANDBOX_NODE="n1",
    ).splitlines()  # fmt: skip


def test_a_callers_trace_goes_on(sent: list[str], receiver: Receiver) -> None:
    request = next(span for span in receiver.spans if span.name == "request")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert sent == [f"00-{TRACE}-{request.span_id.hex()}-01", TRACE]


def test_spans_of_a_forked_process_arrive_in_the_same_trace(sent: list[str], receiver: Receiver) -> None:
    spans = {span.name: span for span in receiver.spans}
    assert spans["execution"].trace_id.hex() == TRACE
    assert spans["execution"].parent_span_id == spans["request"].span_id


def test_a_past_span_has_its_own_times(sent: list[str], receiver: Receiver) -> None:
    queue = next(span for span in receiver.spans if span.name == "queue")
    assert queue.end_time_unix_nano - queue.start_time_unix_nano == 86_400 * 10**9


def test_a_failure_is_told_by_its_type_only(sent: list[str], receiver: Receiver) -> None:
    request = next(span for span in receiver.spans if span.name == "request")
    assert (request.status.message, list(request.events)) == ("ValueError", [])
    assert "hunter2" not in str(receiver.spans)


def test_the_service_and_its_node_are_named(sent: list[str], receiver: Receiver) -> None:
    named = {(r["service.name"], r["host.name"]) for r in receiver.resources}
    assert named == {("sandbox-platform-worker", "n1")}


def test_the_key_of_the_receiver_is_sent(sent: list[str], receiver: Receiver) -> None:
    assert {headers.get("api-key") for headers in receiver.headers} == {"hidden"}
