"""Conditions of alerts about nodes and the pool."""

from collections.abc import Iterator

from django.db.models import Count, F, Q
from django.utils import timezone

from runtimes.models import MIB, Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.conditions import (
    CRITICAL,
    MINUTE_MS,
    Condition,
    Finding,
    Parameter,
    ShippedRule,
    Values,
    declare,
)
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.units import format_bytes
from sandboxes import gvisor
from sandboxes.models import Node, SandboxState

GIB = 1024 * MIB
POOL, DOCTOR = "/admin/pool/", "/admin/doctor/"


def _age_ms(node: Node) -> float:
    return (timezone.now() - node.seen_at).total_seconds() * 1000


def keeper_gone(values: Values) -> Iterator[Finding]:
    for node in Node.objects.filter(draining=False):
        if not liveness.keeper_alive(node.name):
            detail = (
                f"No keeper is alive, last seen {node.seen_at:%Y-%m-%d %H:%M} UTC: the pool is not refilled, and "
                "scheduled jobs do not run."
            )
            yield Finding(f"node {node.name}", _age_ms(node), detail, DOCTOR)


def workers_gone(values: Values) -> Iterator[Finding]:
    for node in Node.objects.filter(draining=False):
        if not liveness.workers_alive(node.name):
            yield Finding(f"node {node.name}", 0, "No worker is alive: no execution runs there.", DOCTOR)


def disk_low(values: Values) -> Iterator[Finding]:
    for node in Node.objects.filter(disk_free_bytes__isnull=False):
        free, total = node.disk_free_bytes or 0, node.disk_total_bytes or 1
        if free < values["free_bytes"] or 100 * free < values["free_percent"] * total:
            detail = f"{format_bytes(free)} of {format_bytes(total)} free."
            yield Finding(f"node {node.name}", free, detail, DOCTOR)


def gvisor_hole(values: Values) -> Iterator[Finding]:
    for node in Node.objects.exclude(gvisor_version=""):
        if found := gvisor.open_advisories(node.gvisor_version):
            names = ", ".join(one.name for one in found)
            detail = f"gVisor {node.gvisor_version} is affected by {names}. Run make setup on the node."
            yield Finding(f"node {node.name}", len(found), detail, DOCTOR)


def pool_empty(values: Values) -> Iterator[Finding]:
    ready = Q(sandboxes__state=SandboxState.READY, sandboxes__runtime_revision=F("revision"))
    kept = Runtime.objects.enabled().filter(pool_min__gt=0)
    counted = kept.annotate(number=Count("sandboxes", filter=ready)).order_by("slug")
    for slug, least, number in counted.values_list("slug", "pool_min", "number"):
        if not number:
            detail = f"0 warm sandboxes, the minimum is {least}: each run is a cold start."
            yield Finding(f"runtime {slug}", number, detail, POOL)


declare(
    Condition(
        "keeper_gone",
        "Keeper or node gone",
        "A node that had a keeper within the last 7 days has none. The callbacks service watches it. Not of nodes "
        "that are being drained.",
        keeper_gone,
        unit="ms",
        evaluated_by=Service.CALLBACKS,
        shipped=(ShippedRule("keeper_gone", "Keeper gone", CRITICAL, 2 * MINUTE_MS),),
    )
)
declare(
    Condition(
        "workers_gone",
        "Workers gone",
        "A node that had a keeper within the last 7 days has no worker. Not of nodes that are being drained.",
        workers_gone,
        shipped=(ShippedRule("workers_gone", "Workers gone", CRITICAL, 2 * MINUTE_MS),),
    )
)
declare(
    Condition(
        "pool_empty",
        "Pool empty",
        "An enabled runtime whose pool has a minimum has no warm sandbox of its current configuration.",
        pool_empty,
        unit="sandboxes",
        shipped=(ShippedRule("pool_empty", "Pool empty", pending_ms=10 * MINUTE_MS),),
    )
)
declare(
    Condition(
        "disk_low",
        "Disk nearly full",
        "The fullest disk of a node that images, sandboxes and the stack's database are on has less space left than "
        "one of the two bounds.",
        disk_low,
        (
            Parameter("free_bytes", "Free space below", 5 * GIB, 0, 1024 * GIB, "bytes"),
            Parameter("free_percent", "Free share below, in percent", 5, 0, 99, "%"),
        ),
        unit="bytes",
        shipped=(ShippedRule("disk_low", "Disk nearly full", CRITICAL, 5 * MINUTE_MS),),
    )
)
declare(
    Condition(
        "gvisor_hole",
        "Known hole in gVisor",
        "The gVisor of a node has a known vulnerability that a later release fixes.",
        gvisor_hole,
        unit="advisories",
        shipped=(ShippedRule("gvisor_hole", "Known hole in gVisor", CRITICAL),),
    )
)
