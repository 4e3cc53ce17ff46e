"""Spans for OpenTelemetry, when OTEL_EXPORTER_OTLP_ENDPOINT is set. Otherwise nothing is imported and nothing happens.

A span has ids, names from the configuration, states and numbers; never code, input, output or a secret.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

TRACEPARENT = "traceparent"
LONGEST = 55  # of a traceparent
Attribute = str | int | float | bool
SETTINGS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@cache
def is_on() -> bool:
    """Return whether an endpoint is set; OTEL_SDK_DISABLED turns it off, as everywhere."""
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not is_disabled and any(os.environ.get(name) for name in SETTINGS)


@contextmanager
def span(
    name: str, *, parent: str | None = None, kind: str = "internal", **attributes: Attribute
) -> Iterator[Any]:
    """Open a span around the block; yield an object with `set_attribute`, or None without tracing.

    `parent`: the traceparent header of a caller, or of the process that queued the work; None: the current span.
    An exception marks the span as failed by its type. Its text may quote a program.
    """
    if not is_on():
        yield None
        return
    from opentelemetry import trace

    kinds = {
        "internal": trace.SpanKind.INTERNAL,
        "server": trace.SpanKind.SERVER,
        "consumer": trace.SpanKind.CONSUMER,
        "client": trace.SpanKind.CLIENT,
    }
    opened = _tracer().start_as_current_span(
        name,
        context=_context(parent),
        kind=kinds[kind],
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    )
    with opened as current:
        try:
            yield current
        except BaseException as e:
            current.set_status(trace.StatusCode.ERROR, type(e).__name__)
            current.set_attribute("error.type", type(e).__name__)
            raise


def past(name: str, begin: datetime | None, end: datetime | None, **attributes: Attribute) -> None:
    """Record a span of which only the times are known, below the current one."""
    if is_on() and begin and end and end >= begin:
        begun = _tracer().start_span(name, start_time=_ns(begin), attributes=attributes)
        begun.end(_ns(end))


def link(current: Any, traceparent: str) -> None:
    """Link the span, which may be None, to one of another trace; "" is none."""
    if current is not None and traceparent:
        from opentelemetry import trace

        current.add_link(trace.get_current_span(_context(traceparent)).get_span_context())


def traceparent() -> str:
    """Return the current span as a traceparent header, for the process that goes on; "" without tracing."""
    if not is_on():
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT, "")


def current_trace_id() -> str:
    if not is_on():
        return ""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


def flush() -> None:
    """Send what is waiting, before the process ends."""
    if is_on():
        _provider(os.getpid()).force_flush(5_000)


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000


def _context(parent: str | None) -> Any:
    if not parent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: Mapping[str, str] = {TRACEPARENT: parent}
    return TraceContextTextMapPropagator().extract(carrier)


def _tracer() -> Any:
    return _provider(os.getpid()).get_tracer("sandbox-platform")


@cache
def _provider(pid: int) -> Any:
    """Return the provider of this process: the thread that exports does not outlive a fork."""
    from django.conf import settings
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.util.re import parse_env_headers

    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which the SDK reads, come before these.
    name = f"sandbox-platform-{settings.SANDBOX_SERVICE}" if settings.SANDBOX_SERVICE else "sandbox-platform"
    ours = {"service.version": settings.VERSION, "host.name": settings.SANDBOX_NODE}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        ours["service.name"] = name
    provider = TracerProvider(resource=Resource.create(ours))
    headers = parse_env_headers(settings.SANDBOX_OTLP_HEADERS, liberal=True) or None
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(headers=headers)))
    return provider
