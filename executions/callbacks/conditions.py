"""Conditions of alerts about callbacks."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count
from django.utils import timezone

from executions.callbacks.models import Delivery, DeliveryStatus
from sandbox_platform.kit import liveness
from sandbox_platform.kit.conditions import (
    CRITICAL,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Condition,
    Finding,
    Parameter,
    ShippedRule,
    Values,
    declare,
)
from sandbox_platform.kit.units import format_ms

DELIVERIES = "/admin/callbacks/delivery/"


def sender_gone(values: Values) -> Iterator[Finding]:
    if not liveness.callbacks_alive():
        detail = "No process sends callbacks and messages about alerts: look at the console until one is back."
        yield Finding("the callbacks service", 0, detail, "/admin/doctor/")


def lost(values: Values) -> Iterator[Finding]:
    since = timezone.now() - timedelta(milliseconds=values["window_ms"])
    ended = Delivery.objects.filter(
        status__in=[DeliveryStatus.GIVEN_UP, DeliveryStatus.FAILED], finished_at__gte=since
    )
    for key, name, number in (
        ended.values_list("execution__client", "execution__client__name").annotate(number=Count("pk")).order_by()
    ):
        if number >= values["number"]:
            detail = f"{number:,} callbacks did not arrive in the last {format_ms(values['window_ms'])}."
            link = f"{DELIVERIES}?execution__client__id__exact={key}" if key else DELIVERIES
            yield Finding(f"client {name}" if key else "no client", number, detail, link)


declare(
    Condition(
        "callbacks_gone",
        "Callbacks service gone",
        "No process delivers callbacks, mail and webhooks. Nobody can be told: the alert shows in the console.",
        sender_gone,
        shipped=(ShippedRule("callbacks_gone", "Callbacks service gone", CRITICAL, 2 * MINUTE_MS),),
    )
)
declare(
    Condition(
        "callbacks_lost",
        "Callbacks lost",
        "Callbacks of a client failed for good, or were given up, in a window.",
        lost,
        (
            Parameter("window_ms", "In the last", HOUR_MS, MINUTE_MS, DAY_MS, "ms"),
            Parameter("number", "At least this many", 10, 1, 1_000_000),
        ),
        unit="callbacks",
        shipped=(ShippedRule("callbacks_lost", "Callbacks lost"),),
    )
)
