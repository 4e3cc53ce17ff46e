"""The background task of the callbacks cluster: one attempt of one delivery."""

from typing import Any

from django.conf import settings
from django.utils import timezone

from executions.callbacks import deliveries, payload, sender, signing
from sandbox_platform.kit import tracing


def deliver(delivery_id: int, attempt_count: int) -> None:
    """Make the attempt. Do nothing if the delivery is gone, finished, or claimed by another task."""
    delivery = deliveries.take(delivery_id, attempt_count)
    if delivery is not None:
        execution, now = delivery.execution, timezone.now()
        body = payload.body(execution)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"sandbox-platform/{settings.VERSION}",
            **signing.headers(execution.client, message_id=payload.message_id(execution), body=body, now=now),
        }
        ids: dict[str, Any] = {
            "sandbox.execution_id": str(execution.pk),
            "sandbox.request_id": execution.request_id,
            "sandbox.attempt": delivery.attempt_count,
        }
        with tracing.span("callback", parent=execution.traceparent, kind="client", **ids) as span:
            answer = sender.post(execution.callback_url, body, headers)
            deliveries.record(delivery, now, answer)
            if span is not None:
                span.set_attribute("sandbox.delivery", delivery.status)
                span.set_attribute("http.response.status_code", answer.status_code or 0)
    deliveries.enqueue_due()
