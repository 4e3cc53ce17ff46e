"""Programs that end badly, each in its own way: for every test that holds for all failures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failing:
    name: str
    language: str
    code: str
    status: str
    exit_code: int
    stderr: str  # what it must contain
    limit: str | None = None
    error: str | None = None
    detail: str | None = None

    def __str__(self) -> str:
        return self.name


def _program(name: str, language: str, code: str, exit_code: int, stderr: str) -> Failing:
    return Failing(name, language, code, "program_error", exit_code, stderr, error="nonzero_exit")


def _limit(name: str, language: str, code: str, exit_code: int, stderr: str, limit: str) -> Failing:
    return Failing(name, language, code, "resource_limit_exceeded", exit_code, stderr, limit=limit)


FAILING = [
    _program(
        "exception", "python", "def main():\n    print('seen')\n    raise ValueError('boom')", 1,
        "ValueError: boom",
    ),
    _program("exit-status", "python", "def main():\n    print('seen')\n    raise SystemExit(3)", 3, "status 3"),
    _program("exit-text", "python", "def main(): raise SystemExit('because')", 1, "because"),
    _program("import-error", "python", "import nonsense\ndef main(): return 1", 1, "ModuleNotFoundError"),
    _program("no-main", "python", "x = 1", 1, "main"),
    _program("empty", "python", "", 1, "main"),
    _program("not-json", "python", "def main(): return {1, 2}", 1, "not JSON serializable"),
    _program("wrong-arguments", "python", "def main(a): return a", 1, "missing 1 required positional argument"),
    _program("signal", "python", "import posix\ndef main(): posix.kill(posix.getpid(), 11)", 139, "SIGSEGV"),
    _program("abort", "python", "import posix\ndef main(): posix.abort()", 134, "SIGABRT"),
    _limit("endless", "python", "def main():\n    print('seen')\n    while True: pass", -124, "timeout", "time"),
    _limit("memory", "python", "def main(): return len(bytearray(1000000000))", -137, "Memory limit", "memory"),
    Failing(
        "refused", "python", "import os\ndef main(): return 1", "program_runner_error", -999, "Line 1: Import: os",
        detail="Code is unsafe",
    ),
    Failing(
        "syntax", "python", "def main(:", "program_runner_error", -999, "Line -1: Parsing Error: ",
        detail="Code is unsafe",
    ),
    Failing(
        "nul-byte", "python", "def main(): return '\0'", "program_runner_error", -999, "Parsing Error: ",
        detail="Code is unsafe",
    ),
    _program(
        "js-throw", "nodejs", "function main() { console.log('seen'); throw new Error('boom'); }", 1,
        "Error when executing main: Error: boom",
    ),
    _program(
        "js-rejection", "nodejs", "async function main() { throw new Error('boom'); }", 1,
        "Error in async main function: Error: boom",
    ),
    _program("js-exit", "nodejs", "function main() { process.exit(7); }", 7, "status 7"),
    _program(
        "js-undefined", "nodejs", "function main() {}", 1,
        "Error: main() must return a value. Use null for an empty result.",
    ),
    _program("js-no-main", "nodejs", "const x = 1;", 1, "main"),
    _program("js-syntax", "nodejs", "function main( {", 1, "SyntaxError"),
    _program("js-not-json", "nodejs", "function main() { return 10n; }", 1, "BigInt"),
    _program("js-import-error", "nodejs", "require('nonsense'); function main() { return 1; }", 1, "nonsense"),
    _program("js-signal", "nodejs", "function main() { process.kill(process.pid, 'SIGSEGV'); }", 139, "SIGSEGV"),
    _limit(
        "js-endless", "nodejs", "function main() { console.log('seen'); for (;;); }", -124, "timeout", "time"
    ),
    _limit(
        "js-memory", "nodejs", "function main() { return Buffer.alloc(1e9, 1).length; }", -137, "Memory limit",
        "memory",
    ),
    Failing(
        "js-refused", "nodejs", "const fs = require('fs'); function main() { return 1; }", "program_runner_error",
        -999, "Line 1: Require: fs", detail="Code is unsafe",
    ),
]  # fmt: skip
