from typing import Any

import pytest

from executions.failures.fingerprints import Facts, Fingerprint, Kind, fingerprint
from executions.failures.traces import MOST
from executions.models import Outcome, Status

PYTHON = """Traceback (most recent call last):
  File "/workspace/main.py", line 3, in main
    return inner(x)
           ^^^^^^^^
  File "/workspace/helper.py", line 9, in inner
    json.loads(s)
  File "/usr/lib/python3.13/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
"""
EXPECTING = "Expecting value: line <n> column <n> (char <n>)"
CHAINED = """Traceback (most recent call last):
  File "/workspace/main.py", line 3, in main
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/workspace/main.py", line 5, in main
ValueError: bad 17
"""
SYNTAX = """  File "/workspace/main.py", line 1
    def
       ^
SyntaxError: invalid syntax
"""
# As Node.js 24 writes it.
NODE = """/workspace/main.js:1
function main(){ const x = null; return x.foo; }
                                          ^

TypeError: Cannot read properties of null (reading 'foo')
    at main (/workspace/main.js:1:43)
    at Object.<anonymous> (/workspace/main.js:2:1)
    at Module._compile (node:internal/modules/cjs/loader:1929:14)

Node.js v24.21.0
"""
JAVA = """Exception in thread "main" java.lang.RuntimeException: outer 5
	at Main.main(Main.java:5)
Caused by: java.lang.NumberFormatException: For input string: "abc"
	at java.base/java.lang.Integer.parseInt(Integer.java:652)
	at Main.parse(Main.java:10)
	... 1 more
"""
GO = """panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.f(0x5)
	/workspace/main.go:7 +0x1d
main.main()
	/workspace/main.go:11 +0x25
exit status 2
"""
RUBY = """/workspace/main.rb:2:in 'Object#main': bad id 42 (ArgumentError)

  raise ArgumentError, "bad id 42"
	from /workspace/main.rb:4:in '<main>'
"""
PHP = """PHP Fatal error:  Uncaught RuntimeException: bad 5 in /workspace/main.php:3
Stack trace:
#0 /workspace/main.php(5): f()
#1 {main}
  thrown in /workspace/main.php on line 3
"""
RUST = """
thread 'main' panicked at src/main.rs:2:5:
index out of bounds: the len is 3 but the index is 99
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
"""
CPP = "terminate called after throwing an instance of 'std::runtime_error'\n  what():  x 5\n"
R = "Error in f(1) : no such thing 3\nCalls: f\nExecution halted\n"
LUA = "lua: main.lua:1: attempt to index a nil value (global 'x')\nstack traceback:\n\t[C]: in ?\n"


def facts(stderr: str = "", **given: Any) -> Facts:
    plain: dict[str, Any] = {"status": Status.FAILED, "outcome": Outcome.NONZERO_EXIT, "exit_code": 1}
    return Facts(**plain | {"stderr": stderr, "code_sha256": "ab" * 32} | given)


@pytest.mark.parametrize(
    ("stderr", "title", "message", "place"),
    [
        (PYTHON, "json.decoder.JSONDecodeError", EXPECTING, "helper.py in inner"),
        (CHAINED, "ValueError", "bad <n>", "main.py in main"),
        (SYNTAX, "SyntaxError", "invalid syntax", "main.py"),
        (NODE, "TypeError", "Cannot read properties of null (reading 'foo')", "main.js in main"),
        (JAVA, "java.lang.NumberFormatException", 'For input string: "abc"', "Main.java in Main.parse"),
        (GO, "panic", "runtime error: index out of range [<n>] with length <n>", "main.go in main.f"),
        (RUBY, "ArgumentError", "bad id <n>", "main.rb in main"),
        (PHP, "RuntimeException", "bad <n>", "main.php"),
        (RUST, "panic", "index out of bounds: the len is <n> but the index is <n>", "main.rs"),
        (CPP, "std::runtime_error", "x <n>", ""),
        ("main: main.c:5: f: Assertion `x == y' failed.", "Assertion failed", "x == y", "main.c in f"),
        ("cannot read file 17 at /workspace/main.pl line 1.\n", "Perl error", "cannot read file <n>", "main.pl"),
        ("/workspace/main.sh: line 1: foo: command not found\n", "Shell error", "foo: command not found", "main.sh"),
        (LUA, "Lua error", "attempt to index a nil value (global 'x')", "main.lua"),
        (R, "Error", "no such thing <n>", "f"),
    ],
    ids=[
        *("python", "chained", "syntax", "node", "java", "go", "ruby", "php"),
        *("rust", "c++", "assertion", "perl", "shell", "lua", "r"),
    ],
)  # fmt: skip
def test_exception_of_each_language(stderr: str, title: str, message: str, place: str) -> None:
    found = fingerprint(facts(stderr))
    assert (found.kind, found.title, found.message) == (Kind.EXCEPTION, title, message)
    assert found.place == place


@pytest.mark.parametrize(
    ("stderr", "message", "place"),
    [
        ("main.c: In function ‘main’:\nmain.c:1:21: error: ‘y’ undeclared\n", "‘y’ undeclared", "main.c"),
        ("# command-line-arguments\n./main.go:4:2: undefined: x\n", "undefined: x", "main.go"),
        ("error[E0425]: cannot find value `y`\n --> src/main.rs:1:20\n", "cannot find value `y`", ""),
        ("main.ts(3,5): error TS2322: Type 'x' is no 'y'.\n", "Type 'x' is no 'y'.", "main.ts"),
    ],
    ids=["c", "go", "rust", "typescript"],
)
def test_first_error_of_a_compiler(stderr: str, message: str, place: str) -> None:
    found = fingerprint(facts(stderr, outcome=Outcome.COMPILE_FAILED))
    assert found == Fingerprint(Kind.COMPILATION, "Compilation error", message, place)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 of 3", "order 2048 of 99"),
        ("at 0xdeadbeef", "at 0x7f00"),
        ("open /workspace/a.csv failed", "open /tmp/x/b.csv failed"),
        ("user 3f2b8c1e-1111-2222-3333-444455556666", "user aaaaaaaa-1111-2222-3333-444455556666"),
        ("GET https://a.example/1?x=y failed", "GET http://b.example failed"),
        ("mail to bob@example.com", "mail to alice@example.org"),
        ("key ab12cd34ef56ab78", "key 0099ffeeddccbbaa"),
        ("at 10.0.0.1", "at 192.168.1.77"),
    ],
)
def test_what_differs_between_runs_is_replaced(one: str, other: str) -> None:
    trace = 'Traceback (most recent call last):\n  File "main.py", line {}, in main\nValueError: {}\n'
    assert fingerprint(facts(trace.format(1, one))) == fingerprint(facts(trace.format(99, other)))


def test_different_exceptions_differ() -> None:
    assert len({fingerprint(facts(text)) for text in (PYTHON, CHAINED, SYNTAX, NODE, JAVA, GO, RUBY, PHP)}) == 8


@pytest.mark.parametrize(
    ("given", "kind", "title"),
    [
        ({"status": Status.TIMED_OUT, "outcome": Outcome.WALL_TIME}, Kind.TIME, "Wall time limit"),
        ({"status": Status.TIMED_OUT, "outcome": Outcome.CPU_TIME}, Kind.TIME, "CPU time limit"),
        ({"status": Status.OUT_OF_MEMORY, "outcome": Outcome.MEMORY}, Kind.MEMORY, "Memory limit"),
        ({"status": Status.OUTPUT_LIMIT, "outcome": Outcome.STDOUT}, Kind.OUTPUT, "Standard output limit"),
        ({"outcome": Outcome.RESULT_INVALID}, Kind.RESULT, "Invalid result"),
        ({"outcome": Outcome.SIGNALLED, "signal": 11}, Kind.SIGNAL, "Killed by signal 11 (SIGSEGV)"),
        ({"outcome": Outcome.SIGNALLED, "signal": 31}, Kind.REFUSED_CALL, "Killed for a refused system call"),
        ({"exit_code": 3}, Kind.EXIT, "Exit status 3"),
    ],
)
def test_ends_without_an_exception_are_grouped_by_program(given: Any, kind: Kind, title: str) -> None:
    found = fingerprint(facts(**given))
    assert (found.kind, found.title, found.place) == (kind, title, f"program {'ab' * 6}")
    assert fingerprint(facts(**given, code_sha256="cd" * 32)) != found


def test_output_does_not_decide_what_the_host_knows() -> None:
    """A program that prints a traceback and then runs out of time ran out of time."""
    found = fingerprint(facts(PYTHON, status=Status.TIMED_OUT, outcome=Outcome.WALL_TIME))
    assert found.kind == Kind.TIME


def test_rejected_programs_are_grouped_by_rules() -> None:
    violations = [{"rule": "b", "line": 1}, {"rule": "a", "line": 2}, {"rule": "b", "line": 9}]
    rejected = facts(status=Status.REJECTED, outcome=Outcome.CODE_POLICY, policy_violations=violations)
    assert fingerprint(rejected) == Fingerprint(Kind.REJECTED, "Rejected by the code policy", "a, b")


def test_php_errors_on_standard_output_count() -> None:
    assert fingerprint(facts(stdout=PHP.removeprefix("PHP "))).title == "RuntimeException"


def test_a_traceback_on_standard_output_is_only_output() -> None:
    assert fingerprint(facts(stdout=PYTHON)).kind == Kind.EXIT


@pytest.mark.parametrize(
    "evil",
    [
        "a" * 2 * MOST, "(" * 2 * MOST, "/" * 2 * MOST, "\x1b[" * MOST, "::" * MOST, "a.a:" * MOST, "\n" * 2 * MOST,
        'File "' * 2000, '  File "x", line 1, in y\n' * 700, ("    at " + "(" * 500 + "\n") * 30,
        "PHP Fatal error: " + " in" * 5000, "\u202e\x00\x07\ud7ff" * 4000, "Traceback (most recent call last):\n" * 400,
        "X" * 5000 + "Error: " + "y" * 9000,
    ],
    ids=range(14),
)  # fmt: skip
def test_hostile_output_has_a_short_fingerprint(evil: str) -> None:
    for outcome in (Outcome.NONZERO_EXIT, Outcome.COMPILE_FAILED):
        found = fingerprint(facts(evil, stdout=evil, outcome=outcome))
        assert len(found.title) <= 100
        assert len(found.message) <= 300
        assert len(found.place) <= 100


def test_a_title_holds_no_control_characters() -> None:
    trace = 'Traceback (most recent call last):\n  File "m.py", line 1, in f\nValueError: a\x1b[31mb\u202ec\x07d\n'
    assert fingerprint(facts(trace)).message == "ab c d"
