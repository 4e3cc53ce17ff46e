from inspections import describing
from inspections.describing import environment_of, packages, sections, version_command
from runtimes.models import Runner, Runtime

WHOLE = "\x1eversion\nPerl v5\n\x1eend\n"


def test_output_is_cut_into_sections() -> None:
    assert sections(WHOLE) == {"version": "Perl v5\n", "end": ""}


def test_output_without_its_end_is_none() -> None:
    assert sections(WHOLE.removesuffix("\x1eend\n")) == {}


def test_values_of_variables_may_have_several_lines_and_quotes() -> None:
    exported = "export A='it'\"'\"'s'\nexport B='first\nsecond'\nexport EMPTY=''\nexport UNSET\n"
    assert environment_of(exported) == {"A": "it's", "B": "first\nsecond", "EMPTY": "", "UNSET": ""}


def test_what_bash_exports_is_read_too() -> None:
    assert environment_of('declare -x HOME="/home/nobody"\n') == {"HOME": "/home/nobody"}


def test_variables_of_the_shell_itself_are_left_out() -> None:
    assert environment_of("export HOME='/h'\nexport PWD='/workspace'\n") == {"HOME": "/h"}


def test_packages_are_sorted_and_listed_once() -> None:
    assert packages("b\t2\nA\t1\nb\t2\nnot a package\n") == [["A", "1"], ["b", "2"]]


def test_version_command_is_the_manifest_s() -> None:
    assert version_command(Runtime(slug="go", run_command="something else")) == "go env GOVERSION"


def test_without_a_manifest_the_interpreter_is_asked() -> None:
    assert (
        version_command(Runtime(slug="forth", run_command="'/opt/my forth' {source}"))
        == "'/opt/my forth' --version"
    )


def test_without_manifest_and_interpreter_nothing_is_asked() -> None:
    assert version_command(Runtime(slug="forth")) == ""
    assert version_command(Runtime(slug="forth", run_command="{source}")) == ""


def test_a_compiled_language_is_described_without_its_compiler() -> None:
    compiled = Runtime(runner=Runner.UNIVERSAL, compile_command="gcc {source}", run_command="{program}")
    described = describing.described_as(compiled)
    assert described.commands == {"compile": [], "run": ["/bin/sh", "{source}"], "function": []}
    assert compiled.compile_command == "gcc {source}"
