"""Build a program that makes system calls, one after the other, and writes each return value to stdout.

The program is generated machine code. It needs no interpreter, library or compiler, so it runs in every image and
under every profile that allows write. Each value is written before the next call is made: when a filter kills the
program, the output shows which call did it.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from seccomp_profiles.x86_64 import NUMBERS

MACHINE = "x86_64"
BASE = 0x400000
HEADERS = 64 + 56
ANSWER = 8
# These never return, whatever the arguments.
NEVER = frozenset({"exit", "exit_group", "rt_sigreturn", "pause"})
CLONING = frozenset({"fork", "vfork", "clone"})
# Invalid arguments: no descriptor, address or flag has this value. The call fails, but the filter has checked it.
NOTHING = (-1,) * 6
# clone: Linux refuses CLONE_THREAD without CLONE_SIGHAND, so no thread is created.
ARGUMENTS = {"clone": (0x10000, *NOTHING[1:])}

LOAD_ARGUMENT = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8", b"\x49\xb9")
SYSCALL = b"\x0f\x05"
EXIT = b"\x31\xff\xb8" + struct.pack("<I", NUMBERS["exit"]) + SYSCALL  # not exit_group: the clone may be a thread
SKIP_UNLESS_ZERO = b"\x48\x85\xc0\x75"
STORE_ANSWER = b"\x48\xa3"
WRITE_ANSWER = b"\xb8\x01\x00\x00\x00\xbf\x01\x00\x00\x00\x48\xbe", b"\xba\x08\x00\x00\x00" + SYSCALL


@dataclass(frozen=True)
class Call:
    name: str
    arguments: tuple[int, ...]

    @classmethod
    def harmless(cls, name: str) -> "Call":
        return cls(name, ARGUMENTS.get(name, NOTHING))


def program(calls: Sequence[Call]) -> bytes:
    """Return a static ELF executable with one segment: the code, followed by 8 bytes for one return value."""
    room = BASE + HEADERS + len(_code(calls, 0))
    segment = _code(calls, room) + bytes(ANSWER)
    size = HEADERS + len(segment)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return ident + header + struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, size, size, 0x1000) + segment


def answers(output: bytes) -> list[int]:
    """Return the return values of the calls made, in order: a result, or a negative errno."""
    count = len(output) // ANSWER
    return list(struct.unpack(f"<{count}q", output[: count * ANSWER]))


def _code(calls: Sequence[Call], room: int) -> bytes:
    parts = []
    address = struct.pack("<Q", room)
    for call in calls:
        parts.append(b"\x48\xc7\xc0" + struct.pack("<i", NUMBERS[call.name]))
        for load, argument in zip(LOAD_ARGUMENT, call.arguments, strict=True):
            parts.append(load + struct.pack("<Q", argument & (2**64 - 1)))
        parts.append(SYSCALL)
        if call.name in CLONING:
            # In the child clone returns 0: the child exits at once.
            parts.append(SKIP_UNLESS_ZERO + bytes([len(EXIT)]) + EXIT)
        parts += [STORE_ANSWER, address, WRITE_ANSWER[0], address, WRITE_ANSWER[1]]
    return b"".join(parts) + b"\x31\xff\xb8" + struct.pack("<I", NUMBERS["exit_group"]) + SYSCALL
