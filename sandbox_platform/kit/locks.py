"""The numbers of all advisory locks: Postgres knows a lock by its number alone, whoever takes it."""

import zlib
from enum import IntEnum, unique


@unique
class Lock(IntEnum):
    """A test finds a number that is written anywhere else. Databases have SEAL in a trigger: it never changes."""

    KEEPER = 7385001  # of a node: its keeper is alive
    WORKER = 7385002  # of a node: its cluster of workers is alive
    SEAL = 7385003  # history is being sealed
    CALLBACKS = 7385004  # a cluster that delivers callbacks is alive
    INSPECTIONS = 7385005  # of a node: an inspection is being made
    ROLL_UP = 7385011  # hours are being counted


def node_key(node: str) -> int:
    """The second number of a lock that each node has for itself."""
    return zlib.crc32(node.encode()) - 2**31
