"""How one run ended, and in what two runs differ."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ASPECTS = ("end", "stdout", "stderr", "files")
SHOWN = 40  # lines of a difference
WIDTH = 200  # characters of a line
# What differs between any two processes of the same program.
VOLATILE = (
    (re.compile(r"0x[0-9a-f]{5,}"), "0xADDRESS"),
    (re.compile(r"\(node:\d+\)"), "(node:PID)"),
)


@dataclass(frozen=True)
class Outcome:
    exit_code: int | None = None
    signal: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    timed_out: bool = False
    result: bytes | None = None  # of mode function
    cold: bool | None = None  # None: not run by the platform
    dropped: tuple[str, ...] = ()  # files that were refused, with the reason
    frames: int = 0  # that the runner sent
    lost: bool = False  # the sandbox ended without a report

    @property
    def end(self) -> str:
        if self.timed_out or self.lost:
            return "did not end" if self.timed_out else "no report"
        return f"signal {self.signal}" if self.signal is not None else f"exit code {self.exit_code}"


Normalise = Sequence[tuple[str, str]]


def normalised(data: bytes, own: Normalise = ()) -> str:
    text = data.decode("utf-8", "backslashreplace")
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    for expression, replacement in own:
        text = re.sub(expression, replacement, text, flags=re.MULTILINE)
    return text


def differences(
    plain: Outcome, other: Outcome, aspects: Iterable[str] = ASPECTS, own: Normalise = ()
) -> dict[str, str]:
    """Return by aspect what differs, as text to read; empty if the two agree."""
    found = {name: COMPARED[name](plain, other, own) for name in aspects}
    return {name: text for name, text in found.items() if text}


def _ends(plain: Outcome, other: Outcome, own: Normalise) -> str:
    return "" if plain.end == other.end else f"{plain.end} plainly, {other.end} on the platform"


def _stream(name: str) -> Callable[[Outcome, Outcome, Normalise], str]:
    def compare(plain: Outcome, other: Outcome, own: Normalise) -> str:
        return _texts(getattr(plain, name), getattr(other, name), own)

    return compare


def _texts(a: bytes, b: bytes, own: Normalise) -> str:
    if a == b:
        return ""
    left, right = normalised(a, own), normalised(b, own)
    if left == right:
        return ""
    lines = difflib.unified_diff(
        [line[:WIDTH] for line in left.splitlines()],
        [line[:WIDTH] for line in right.splitlines()],
        "plain", "platform", lineterm="", n=1,
    )  # fmt: skip
    shown = list(lines)
    rest = [f"… {len(shown) - SHOWN} more lines"] if len(shown) > SHOWN else []
    return "\n".join([*shown[:SHOWN], *rest]) or f"{len(a)} bytes plainly, {len(b)} bytes on the platform"


def _files(plain: Outcome, other: Outcome, own: Normalise) -> str:
    lines = [f"{name}: only plainly" for name in sorted(plain.files.keys() - other.files.keys())]
    lines += [f"{name}: only on the platform" for name in sorted(other.files.keys() - plain.files.keys())]
    for name in sorted(plain.files.keys() & other.files.keys()):
        if text := _texts(plain.files[name], other.files[name], own):
            lines.append(f"{name}:\n{text}")
    if other.dropped != plain.dropped:
        lines.append(f"not returned: {', '.join(other.dropped)}")
    return "\n".join(lines)


COMPARED: dict[str, Callable[[Outcome, Outcome, Normalise], str]] = {
    "end": _ends,
    "stdout": _stream("stdout"),
    "stderr": _stream("stderr"),
    "files": _files,
}


def disappointments(outcome: Outcome, expect: Mapping[str, Any], own: Normalise = ()) -> list[str]:
    """Return in what an outcome is not as its case says. What only the platform reports is not asked of a plain run."""
    stdout, stderr = normalised(outcome.stdout, own), normalised(outcome.stderr, own)
    found = []
    for name, wanted in expect.items():
        match name:
            case "exit_code" | "signal":
                right, got = getattr(outcome, name) == wanted, outcome.end
            case "stdout" | "stderr":
                got = stdout if name == "stdout" else stderr
                right = got == wanted
            case "stdout_ends":
                right, got = stdout.endswith(wanted), stdout[-WIDTH:]
            case "stderr_has":
                right, got = wanted in stderr, stderr[-1000:]
            case "files":
                got = ", ".join(sorted(outcome.files))
                right = sorted(outcome.files) == sorted(wanted)
            case "result":
                got = "none" if outcome.result is None else outcome.result.decode()
                right = outcome.result is not None and json.loads(got) == wanted
            case _:  # frames, at most
                right, got = outcome.frames <= wanted, str(outcome.frames)
        if not right:
            found.append(f"{name} should be {str(wanted)[:WIDTH]!r} and is {got[:1000]!r}")
    return found
