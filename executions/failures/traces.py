"""Finds the exception in error output: its type, its message, and the innermost frame of the user's own code.

One recogniser for each form of output that the runtimes' languages have. What none recognises is no exception here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2

from executions.failures.normalising import ESCAPES

# Characters of each end of the output, lines, and characters of a line that are read.
MOST, MOST_LINES, LONGEST_LINE = 8192, 400, 600


@dataclass(frozen=True)
class Trace:
    type: str
    message: str = ""
    place: str = ""


Lines = list[str]
Recogniser = Callable[[Lines], Trace | None]


def _p(pattern: str) -> Any:
    return re2.compile(pattern)


# Python
_PY_FRAME = _p(r'^\s*(?:[|+]\s*)*File "([^"]+)", line [0-9]+(?:, in (.+))?$')
_PY_END = _p(r"^(?:\s*[|+] )*([A-Za-z_][\w.]*)(?:: (.*))?$")
_PY_LIBRARY = _p(r"^<frozen |/site-packages/|/dist-packages/|/lib/python[0-9.]+/|^/opt/sandbox/")
# Node.js and Java. V8 prints the source line before the exception.
_AT = _p(r"^\s+at (?:async )?(?:(?:new )?([^(]*?) ?\()?([^()]+?)\)?$")
_HEAD = _p(
    r'^(?:Exception in thread "[^"]*" |Caused by: |Uncaught |Unhandled )?((?:[A-Za-z_$][\w$]*\.)*[A-Za-z_$][\w$]*)'
    r"(?: \[[A-Z0-9_]+\])?(?:: (.*))?$"
)
_AT_LIBRARY = _p(
    r"^node:|^internal/|/node_modules/|^(?:java|javax|jdk|sun|com\.sun)[./]|^Module\.|^Native Method|/opt/sandbox/"
)
_UNCAUGHT = _p(r"^\s*throw |^node:internal")
# Go
_PANIC = _p(r"^(panic|fatal error): (.*?)(?: \[recovered\].*)?$")
_GO_CALL = _p(r"^([\w./*()-]+)\((?:[^()]*|\.\.\.)\)$")
_GO_AT = _p(r"^\t(\S+\.go):[0-9]+")
# Ruby, PHP, Rust
_RUBY = _p(r"^(.+?):[0-9]+:in ['`](?:.*[#.])?(.+?)': (.*?) ?\(([A-Z][\w:]*)\)$")
_RUBY_FLAT = _p(r"^(.+?\.rb):[0-9]+:(?:in .*?:)? (.*?) ?\(([A-Z][\w:]*)\)$")
_PHP = _p(
    r"^(?:PHP )?(Fatal error|Parse error|Recoverable fatal error): +(?:Uncaught ([\w\\]+)(?:: (.*?))?|(.*?))"
    r"(?: in (\S+?)(?::[0-9]+| on line [0-9]+))?$"
)
_RUST = _p(r"^thread '.*?'(?: \([0-9]+\))? panicked at (?:'(.*)', )?(.+?):[0-9]+:[0-9]+:?$")
# C and C++
_TERMINATE = _p(r"^terminate called after throwing an instance of '(.+)'$")
_WHAT = _p(r"^  what\(\):  ?(.*)$")
_ASSERTION = _p(r"^\S*?: ?(\S+?):[0-9]+: (?:(.+?): )?Assertion [`'](.*)' failed\.?$")
_SANITIZER = _p(r"^==[0-9]+==\s?ERROR: (\w+Sanitizer): (\S+)")
_GLIBC = _p(
    r"^(?:\*\*\* )?((?:stack smashing|buffer overflow) detected|(?:free|malloc|realloc)\w*\(\): .+?)(?: \*\*\*.*)?$"
)
# Other interpreters, whose last line counts
_PERL = _p(r"^(.+?) at (\S+) line [0-9]+(?:, <.*> (?:line|chunk) [0-9]+)?\.?$")
_LUA = _p(r"^lua[0-9.]*: (\S+?):[0-9]+: (.*)$")
_SHELL = _p(r"^(\S+?): (?:line )?[0-9]+: (.*)$")
_R = _p(r"^Error(?: in (.+?))? ?: ?(.*)$")
_NAMED = _p(r"^([A-Z][\w.]*(?:Error|Exception)): (.*)$")
# Compilers
_COMPILERS = tuple(
    _p(pattern)
    for pattern in (
        r"^(?P<place>[^\s:]+?):[0-9]+(?::[0-9]+)?:\s+(?:fatal )?[Ee]rror: (?P<message>.*)$",
        r"^(?P<place>[^\s(]+)\([0-9]+,[0-9]+\):? (?:[Ee]rror|Fatal)(?: TS[0-9]+)?: (?P<message>.*)$",
        r"^error(?:\[E[0-9]+\])?: (?P<message>.*)$",
        r"^(?:Fatal )?Error: (?P<message>.*)$",
        r"^(?:vet: )?(?P<place>[^\s:]+?):[0-9]+:[0-9]+: (?P<message>.*)$",
    )
)


def exception(text: str) -> Trace | None:
    """Return the exception that ended the program, as far as its error output says so."""
    lines = _lines(text)
    return next((found for recogniser in _RECOGNISERS if (found := recogniser(lines))), None)


def on_stdout(text: str) -> Trace | None:
    """Return a PHP error: without a php.ini, PHP writes errors to standard output."""
    return _php(_lines(text))


def compilation(text: str) -> Trace | None:
    """Return the compiler's first error, which often causes the others."""
    lines = _lines(text)
    for pattern in _COMPILERS:
        for line in lines:
            if (match := pattern.search(line)) and not match["message"].startswith(("note:", "warning:")):
                place = _file(match.groupdict().get("place") or "")
                return Trace("Compilation error", match["message"], place)
    return _python(lines) or _node_or_java(lines)


def _lines(text: str) -> Lines:
    lines = [line[:LONGEST_LINE].rstrip() for line in ESCAPES.sub("", text).replace("\r", "").split("\n")]
    if len(lines) > MOST_LINES:
        lines = lines[: MOST_LINES // 2] + lines[-MOST_LINES // 2 :]
    return lines


def _file(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _place(path: str, function: str | None = None) -> str:
    return f"{_file(path)} in {function}" if function else _file(path)


def _python(lines: Lines) -> Trace | None:
    found, frames = None, list[tuple[str, str]]()
    for line in lines:
        if match := _PY_FRAME.search(line):
            frames.append((match[1], match[2] or ""))
        elif frames and (match := _PY_END.search(line)) and not line.startswith("Traceback"):
            own = [frame for frame in frames if not _PY_LIBRARY.search(frame[0])] or frames
            found, frames = Trace(match[1], match[2] or "", _place(*own[-1])), []
    return found


def _node_or_java(lines: Lines) -> Trace | None:
    found: Trace | None = None
    head: Any = None
    placed = True
    for line in lines:
        if match := _AT.search(line):
            function, path = match[1] or "", match[2]
            if head is not None:
                found, head, placed = Trace(head[1], head[2] or ""), None, False
            where = function if path.partition(":")[0].endswith((".java", ".kt", ".scala")) else path
            if found and not placed and not _AT_LIBRARY.search(where) and not _AT_LIBRARY.search(function):
                found, placed = Trace(found.type, found.message, _place(_without_line(path), function)), True
        elif line and not line[0].isspace() and (match := _HEAD.search(line)):
            head = match
    if head is not None and found is None and any(_UNCAUGHT.search(line) for line in lines):
        return Trace(head[1], head[2] or "")
    return found


def _without_line(path: str) -> str:
    """Return the path without the line and column at its end."""
    for _ in range(2):
        begin, colon, number = path.rpartition(":")
        path = begin if colon and number.isdigit() else path
    return path


def _go(lines: Lines) -> Trace | None:
    for at, line in enumerate(lines):
        if match := _PANIC.search(line):
            call = ""
            for later in lines[at + 1 :]:
                if where := _GO_AT.search(later):
                    if call and not call.startswith(("runtime.", "panic", "testing.")):
                        return Trace(match[1], match[2], _place(where[1], call))
                elif name := _GO_CALL.search(later):
                    call = name[1]
            return Trace(match[1], match[2])
    return None


def _ruby(lines: Lines) -> Trace | None:
    for line in lines:
        if match := _RUBY.search(line):
            return Trace(match[4], match[3], _place(match[1], match[2]))
        if match := _RUBY_FLAT.search(line):
            return Trace(match[3], match[2], _place(match[1]))
    return None


def _php(lines: Lines) -> Trace | None:
    for line in lines:
        if match := _PHP.search(line):
            message = match[3] if match[2] else match[4]
            return Trace(match[2] or match[1], message or "", _place(match[5] or ""))
    return None


def _rust(lines: Lines) -> Trace | None:
    for at, line in enumerate(lines):
        if match := _RUST.search(line):
            following = lines[at + 1] if at + 1 < len(lines) else ""
            return Trace("panic", match[1] if match[1] is not None else following, _place(match[2]))
    return None


def _c(lines: Lines) -> Trace | None:
    for at, line in enumerate(lines):
        if match := _TERMINATE.search(line):
            what = _WHAT.search(lines[at + 1]) if at + 1 < len(lines) else None
            return Trace(match[1], what[1] if what else "")
        if match := _ASSERTION.search(line):
            return Trace("Assertion failed", match[3], _place(match[1], match[2]))
        if match := _SANITIZER.search(line):
            return Trace(match[1], match[2])
        if match := _GLIBC.search(line):
            return Trace("glibc", match[1])
    return None


def _last_line(lines: Lines) -> Trace | None:
    """Recognise the interpreters that end with one line."""
    written = [line for line in lines if line.strip()]
    for line in written:
        if match := _LUA.search(line):
            return Trace("Lua error", match[2], _place(match[1]))
        if match := _R.search(line):
            following = "" if match[2] else next(iter(written[written.index(line) + 1 :]), "")
            return Trace("Error", match[2] or following, (match[1] or "").partition("(")[0])
    last = written[-1] if written else ""
    if match := _PERL.search(last):
        return Trace("Perl error", match[1], _place(match[2]))
    if match := _SHELL.search(last):
        return Trace("Shell error", match[2], _place(match[1]))
    if match := _NAMED.search(last):
        return Trace(match[1], match[2])
    return None


_RECOGNISERS: tuple[Recogniser, ...] = (_python, _node_or_java, _go, _ruby, _php, _rust, _c, _last_line)
