"""The universal worker as a contract (docs/runner-protocol.md), driven directly through the engine."""

import base64
import shlex
from dataclasses import replace
from typing import Any

import pytest

from runtimes.manifests import Manifest
from sandboxes.engine import Engine
from tests.images.chosen import chosen
from tests.sandboxes.guest import LIMITS, Seen, guest, job, spec

pytestmark = pytest.mark.needs_docker

COMMANDS = {
    "compile": [],
    "run": ["bash", "{source}"],
    "function": ["bash", "/opt/sandbox/function.bash", "{source}"],
}


def run(engine: Engine, code: str, commands: dict[str, list[str]] | None = None, **job_fields: Any) -> Seen:
    """What a job in the bash image did, whose commands a test may replace."""
    fields = {"mode": "script", "source_file": "main.sh"} | job_fields
    config = {"commands": COMMANDS | (commands or {})}
    with guest(engine, spec("bash", runner_config=config)) as it:
        return it.run(job(code, **fields))


def test_program_gets_arguments_stdin_environment_and_workspace(engine: Engine) -> None:
    code = 'printf "%s|" "$0" "$@" "$NAME" "$PWD"; cat'
    seen = run(engine, code, argv=["-a", "b c"], stdin="line é\n", environment={"NAME": "value"})
    assert seen.stdout.decode() == "/workspace/main.sh|-a|b c|value|/workspace|line é\n"


def test_programs_exit_status_and_signal_are_the_kernels(engine: Engine) -> None:
    assert getattr(run(engine, "exit 7").end, "exit_code", None) == 7
    assert getattr(run(engine, "kill -9 $$").end, "signal", None) == 9


def test_program_in_a_folder_finds_its_files(engine: Engine) -> None:
    files = [{"path": "app/data.bin", "base64": base64.b64encode(b"\xff\0").decode()}]
    seen = run(engine, 'cat "$(dirname "$0")/data.bin"', source_file="app/run.sh", files=files)
    assert seen.stdout == b"\xff\0"


def test_program_can_open_its_own_streams_by_name(engine: Engine) -> None:
    # They are pipes of the runner's making, which is another user.
    seen = run(engine, "cat /dev/stdin > /dev/stdout; echo bad > /dev/stderr", stdin="word")
    assert (seen.stdout, seen.stderr) == (b"word", b"bad\n")


def test_programs_pipes_end_as_in_a_shell(engine: Engine) -> None:
    seen = run(engine, 'yes | head -1; echo "${PIPESTATUS[@]}"')
    assert (seen.stdout, seen.stderr) == (b"y\n141 0\n", b"")


def test_program_has_a_home_and_finds_its_own_machine(engine: Engine) -> None:
    code = (
        "cd && touch file && pwd; for name in localhost sandbox; do getent hosts $name > /dev/null; echo $?; done"
    )
    assert run(engine, code).stdout == b"/home/nobody\n0\n0\n"


def test_script_holds_no_descriptor_of_the_runners(engine: Engine) -> None:
    # Asked one by one: to list them, bash opens another. 255 is its own, the script.
    seen = run(engine, "for n in {0..254}; do [ ! -e /proc/$$/fd/$n ] || echo $n; done")
    assert seen.stdout.split() == [b"0", b"1", b"2"]


def test_program_sees_nothing_of_the_runners_configuration(engine: Engine) -> None:
    assert b"SANDBOX_" not in run(engine, "env").stdout


def test_command_that_is_not_in_the_image_is_named(engine: Engine) -> None:
    seen = run(engine, "", {"run": ["cobol", "{source}"]})
    assert seen.end is not None
    assert (seen.end.exit_code, seen.stderr) == (127, b"cobol: No such file or directory\n")


# -- compiling ----------------------------------------------------------------------------------------------

COMPILE = [
    "bash",
    "-c",
    'echo "compiling $1"; cp "$0" "$1"; test "$(cat "$0")" != broken',
    "{source}",
    "{program}",
]


def test_compiled_program_is_run(engine: Engine) -> None:
    seen = run(engine, "echo ran", {"compile": COMPILE, "run": ["bash", "{program}"]})
    assert (seen.stdout, seen.compiled) == (b"ran\n", 0)


def test_what_the_compiler_says_is_standard_error(engine: Engine) -> None:
    seen = run(engine, "echo ran", {"compile": COMPILE, "run": ["bash", "{program}"]})
    assert seen.stderr == b"compiling /tmp/program\n"


def test_program_that_does_not_compile_is_not_run(engine: Engine) -> None:
    seen = run(engine, "broken", {"compile": COMPILE, "run": ["bash", "-c", "echo ran"]})
    assert (seen.stdout, seen.compiled) == (b"", 1)


def test_compiler_does_not_get_the_programs_stdin(engine: Engine) -> None:
    seen = run(engine, "cat", {"compile": ["bash", "-c", "cat > /dev/null"]}, stdin="word")
    assert seen.stdout == b"word"


def test_compiler_killed_by_a_signal_has_the_shells_status(engine: Engine) -> None:
    assert run(engine, "", {"compile": ["bash", "-c", "kill -9 $$"]}).compiled == 137


def test_compiler_starts_as_the_program_does(engine: Engine) -> None:
    # With the job's environment, the default signals, and no descriptor of the runner's.
    code = 'echo "$NAME"; yes | head -1; echo "${PIPESTATUS[0]}"; '
    code += "for n in {3..9}; do [ ! -e /proc/$$/fd/$n ] || echo $n; done"
    seen = run(engine, "", {"compile": ["bash", "-c", code]}, environment={"NAME": "value"})
    assert seen.stderr == b"value\ny\n141\n"


def test_compiler_that_is_not_in_the_image_is_named(engine: Engine) -> None:
    seen = run(engine, "", {"compile": ["cobc"]})
    assert (seen.compiled, seen.stderr) == (127, b"cobc: No such file or directory\n")


def test_program_cannot_say_that_it_was_compiled(engine: Engine) -> None:
    # In mode function it holds the descriptor on which the worker says so.
    code = "main() { printf 'C\\x01' >&5; echo 1; }"
    seen = run(engine, code, {"compile": ["true"]}, mode="function")
    assert (seen.kinds.count("C"), seen.compiled) == (1, 0)


# Programs of two files, and what each needs beside them: a file that is included, and a program of its own.
TWO_FILES = {
    "c": (
        '#include <stdio.h>\n#include "twice.h"\n#include "one.c"\nint main(void) { printf("%d", twice(one())); }',
        {
            "twice.h": "int twice(int);",
            "twice.c": '#include "twice.h"\nint twice(int n) { return 2 * n; }',
            "one.c": "int one(void) { return 1; }",
            "other.c": "int main(void) { return 3; }",
        },
    ),
    "cpp": (
        '#include <iostream>\n#include "twice.h"\nint main() { std::cout << twice(1); }',
        {"twice.h": "int twice(int);", "twice.cc": '#include "twice.h"\nint twice(int n) { return 2 * n; }'},
    ),
    "fortran": (
        "program p\n use a\n print '(i0,$)', twice(1)\nend program",
        {
            "a.f90": "module a\n use b\ncontains\n integer function twice(n)\n integer :: n\n twice = n * two\n"
            " end function\nend module",
            "b.f90": "module b\n integer :: two = 2\nend module",
        },
    ),
    "java": (
        "class Main { public static void main(String[] a) { System.out.print(Twice.of(1)); } }",
        {"Twice.java": "class Twice { static int of(int n) { return 2 * n; } }"},
    ),
}


@pytest.mark.parametrize("manifest", [m for m in chosen() if m.slug in TWO_FILES], ids=lambda m: m.slug)
def test_files_of_a_folder_compile_together(engine: Engine, manifest: Manifest) -> None:
    code, others = TWO_FILES[manifest.slug]
    files = [
        {"path": f"app/{name}", "base64": base64.b64encode(others[name].encode()).decode()} for name in others
    ]
    fields = manifest.fields
    commands = {"compile": shlex.split(fields["compile_command"]), "run": shlex.split(fields["run_command"])}
    config = {"commands": COMMANDS | commands}
    limits = replace(LIMITS, memory_bytes=fields.get("memory_bytes", LIMITS.memory_bytes))
    with guest(engine, spec(manifest.slug, runner_config=config, limits=limits)) as it:
        seen = it.run(job(code, mode="script", source_file=f"app/{fields['source_file']}", files=files))
    assert (seen.stdout, seen.stderr, seen.artifacts) == (b"2", b"", {})


# -- function mode of the smallest of the wrappers ----------------------------------------------------------


def test_function_gets_its_arguments_and_its_result_is_kept(engine: Engine) -> None:
    seen = run(engine, 'main() { echo "$1"; }', mode="function", arguments='{"a": "\\u00e9"}')
    assert (seen.result, seen.stdout) == ('{"a":"é"}'.encode(), b"")


@pytest.mark.parametrize("code", ["main() { echo 1 2; }", "main() { echo no json; }", "main() { :; }"])
def test_function_that_does_not_print_one_json_value_fails(engine: Engine, code: str) -> None:
    seen = run(engine, code, mode="function")
    assert seen.end is not None
    assert (seen.end.exit_code, seen.result, b"one JSON value" in seen.stderr) == (1, None, True)


def test_program_without_a_function_is_told_so(engine: Engine) -> None:
    assert b"must define a function named main" in run(engine, "echo 1", mode="function").stderr
