"""The numbers of all advisory locks. Postgres identifies a lock only by its number, so each purpose needs its own."""

import zlib
from enum import IntEnum, unique


@unique
class Lock(IntEnum):
    """The lock numbers. A test fails if one is written anywhere else.

    SEAL and PARTITIONS must never change: functions in existing databases contain them.
    """

    KEEPER = 7385001  # per node: its keeper is alive
    WORKER = 7385002  # per node: its cluster of workers is alive
    SEAL = 7385003  # history is being sealed
    CALLBACKS = 7385004  # a cluster that delivers callbacks is alive
    INSPECTIONS = 7385005  # per node: an inspection is running
    CLUSTER = 7385006  # per cluster of workers: it is alive
    DELIVERIES = 7385009  # callbacks that are due are being queued
    STORAGE = 7385010  # what clients store is being added up or recounted
    ROLL_UP = 7385011  # hourly counts are being computed
    USAGE = 7385012  # hourly usage is being counted, or executions are purged
    FAILURES = 7385013  # failed runs are being grouped
    METRICS = 7385014  # events are being added to the counters of /metrics
    SELF_TEST = 7385015  # the next program of the self-test is being submitted
    PARTITIONS = 7385017  # partitions of the history are being made
    ALERTS = 7385021  # per service: it evaluates the rules of alerts
    NOTIFICATIONS = 7385022  # notifications of alerts that are due are being queued
    BUILDER = 7385041  # a cluster that makes builds is alive
    FIRST_LOGIN = 7385031  # somebody whom the OpenID provider names becomes a user


def node_key(node: str) -> int:
    """Return the second number of a lock that exists once per node."""
    return zlib.crc32(node.encode()) - 2**31
