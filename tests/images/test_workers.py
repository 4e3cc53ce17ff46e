"""The native workers of Ruby, PHP and R: a program notices nothing of the interpreter that waited for it."""

import base64
from typing import Any

import pytest

from sandboxes.engine import Engine
from sandboxes.protocol import WATCHED
from tests.images.chosen import chosen
from tests.sandboxes.guest import Seen, guest, job, spec

pytestmark = pytest.mark.needs_docker

SOURCE_FILES = {"ruby": "main.rb", "php": "main.php", "r": "main.R"}
# The others have no image here; with SANDBOX_TEST_RUNTIMES=all they have.
LANGUAGES = [manifest.slug for manifest in chosen() if manifest.slug in SOURCE_FILES]
# Lists what a child of the program holds of the descriptors that the worker's pipes had.
DESCRIPTORS = "for n in 3 4; do [ ! -p /proc/$$/fd/$n ] || echo $n; done"
# Each prints facts as `name=value`, and ends with an uncaught error.
PROGRAMS = {
    "ruby": """\
puts "main=#{__FILE__ == $0 && caller.empty? && __LINE__ == 1}"
puts "arguments=#{ARGV.join(',')}", "environment=#{ENV['A']}", "stdin=#{$stdin.read}", "file=#{File.read('data/in')}"
puts "foreign=#{[defined?(JSON), defined?(SandboxWorker), ENV['SANDBOX_PRELOAD'], *$LOAD_PATH.grep(/sandbox/)].join}"
puts "descriptors=#{`DESCRIPTORS`}", "folder=#{Dir.children('.').sort.join(',')}", "own=#{DATA.read}"
at_exit { puts 'second' }
at_exit { print 'end=first,' }
def f = raise('too bad')
f
__END__
data""",
    "php": """\
<?php echo 'main=', get_included_files() === [__FILE__] && $argv === $_SERVER['argv'] ? 'true' : 'false', "\\n";
echo 'arguments=', implode(',', array_slice($argv, 1)), "\\nenvironment=", getenv('A'), "\\n";
echo 'stdin=', stream_get_contents(STDIN), "\\nfile=", file_get_contents('data/in'), "\\n";
echo 'foreign=', implode(array_diff(get_defined_functions()['user'], ['f'])), class_exists('SandboxFunction'),
    error_get_last()['message'] ?? '', $_SERVER['SANDBOX_PRELOAD'] ?? '', "\\n";
echo 'descriptors=', shell_exec('DESCRIPTORS'), "\\nfolder=", implode(',', array_slice(scandir('.'), 2)), "\\n";
echo 'own=', $_SERVER['A'] === getenv('A') && microtime(true) - $_SERVER['REQUEST_TIME_FLOAT'] < 10, "\\n";
register_shutdown_function(function () { echo "end=first,second\\n"; });
function f() { throw new LogicException('too bad'); }
f();
""",
    "r": """\
cat('main=', if ('--file=/workspace/main.R' %in% commandArgs()) 'true', '\\n', sep = '')
cat('arguments=', paste(commandArgs(TRUE), collapse = ','), '\\nenvironment=', Sys.getenv('A'), '\\n', sep = '')
cat('stdin=', readLines(file('stdin'), warn = FALSE), '\\nfile=', readLines('data/in', warn = FALSE), '\\n', sep = '')
cat('foreign=', ls(all.names = TRUE), Sys.getenv('SANDBOX_PRELOAD'), rownames(showConnections()), '\\n', sep = '')
cat('descriptors=', system("DESCRIPTORS", intern = TRUE), '\\n', sep = '')
cat('folder=', paste(list.files(), collapse = ','), '\\n', sep = '')
noquote('own=printed')
.Last <- function() cat('not called after an error')
invisible(reg.finalizer(globalenv(), function(e) cat('end=first,second\\n'), onexit = TRUE))
f <- function() stop('too bad')
f()
""",
}
ERRORS = {
    "ruby": (
        1,
        "/workspace/main.rb:7:in `f': too bad (RuntimeError)\n\tfrom /workspace/main.rb:8:in `<main>'\n",
    ),
    "php": (
        255,
        "PHP Fatal error:  Uncaught LogicException: too bad in /workspace/main.php:9\nStack trace:\n"
        "#0 /workspace/main.php(10): f()\n#1 {main}\n  thrown in /workspace/main.php on line 9\n",
    ),
    "r": (1, "Error in f() : too bad\nExecution halted\n"),
}


def run(engine: Engine, language: str, code: str, **fields: Any) -> Seen:
    with guest(engine, spec(language)) as it:
        return it.run(job(code, **{"mode": "script", "source_file": SOURCE_FILES[language], **fields}))


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def seen(engine: Engine, language: str) -> Seen:
    return run(
        engine,
        language,
        PROGRAMS[language].replace("DESCRIPTORS", DESCRIPTORS),
        argv=["-x", "b c"],
        stdin="word",
        environment={"A": 'é "b" \\ \U0001f600'},
        files=[{"path": "data/in", "base64": base64.b64encode("hä".encode()).decode()}],
    )


@pytest.fixture(scope="module")
def facts(seen: Seen) -> dict[str, str]:
    lines = seen.stdout.decode().splitlines()
    return dict(line.removeprefix("[1] ").split("=", 1) for line in lines)


def test_program_is_the_main_program(facts: dict[str, str]) -> None:
    assert facts["main"] == "true"


def test_arguments_are_the_callers(facts: dict[str, str]) -> None:
    assert facts["arguments"] == "-x,b c"


def test_environment_is_the_jobs(facts: dict[str, str]) -> None:
    assert facts["environment"] == 'é "b" \\ \U0001f600'


def test_standard_input_and_files_are_the_jobs(facts: dict[str, str]) -> None:
    assert (facts["stdin"], facts["file"]) == ("word", "hä")


def test_nothing_of_the_worker_is_left(facts: dict[str, str]) -> None:
    assert facts["foreign"] == ""


def test_child_inherits_none_of_the_workers_pipes(facts: dict[str, str]) -> None:
    assert facts["descriptors"] == ""


def test_workspace_holds_what_the_job_brought(facts: dict[str, str], language: str) -> None:
    assert facts["folder"] == f"artifacts,data,{SOURCE_FILES[language]}"


def test_what_only_the_main_program_has_is_there(facts: dict[str, str], language: str) -> None:
    # DATA, variables of the request, and values printed at top level.
    assert facts["own"] == {"ruby": "data", "php": "1", "r": "printed"}[language]


def test_what_is_to_run_at_the_end_does(facts: dict[str, str]) -> None:
    assert facts["end"] == "first,second"


def test_uncaught_error_is_the_languages_own(seen: Seen, language: str) -> None:
    assert seen.end is not None
    assert (seen.end.exit_code, seen.stderr.decode()) == ERRORS[language]


# -- an interpreter that is started for the job --------------------------------------------------------------

HERE = {
    "ruby": "puts __FILE__, Time.at(0).hour, Dir.children('.').sort.join(' ')",
    "php": "<?php echo __FILE__, \"\\n9\\n\", implode(' ', array_slice(scandir('.'), 2)), \"\\n\";",
    "r": "cat(substring(commandArgs()[4], 8), as.POSIXlt(0)$hour, paste(list.files(), collapse = ' '), sep = '\\n')",
}


def test_another_source_file_and_time_zone_are_there_from_the_start(engine: Engine, language: str) -> None:
    seen = run(engine, language, HERE[language], source_file="app/run", environment={"TZ": "Asia/Tokyo"})
    assert seen.end is not None
    assert seen.end.cold
    assert seen.stdout.decode().rstrip("\n") == "/workspace/app/run\n9\napp artifacts"


ruby_only = pytest.mark.skipif("ruby" not in LANGUAGES, reason="no image of Ruby")


@ruby_only
def test_rubys_options_of_the_environment_and_the_first_line_count(engine: Engine) -> None:
    files = [{"path": "own.rb", "base64": base64.b64encode(b"OWN = 1").decode()}]
    environment = {"RUBYOPT": "--disable-gems -r./own"}
    seen = run(engine, "ruby", "#!/usr/bin/env ruby -w\nx = OWN", files=files, environment=environment)
    assert seen.stderr == b"/workspace/main.rb:2: warning: assigned but unused variable - x\n"


@ruby_only
def test_rubys_buffer_is_flushed_while_somebody_watches(engine: Engine) -> None:
    with guest(engine, spec("ruby")) as it:
        it.channel.send(job("puts 1; sleep", mode="script", source_file="main.rb").frame() + WATCHED)
        assert it.frame() == (b"O", b"1\n")


# -- mode function -------------------------------------------------------------------------------------------

NO_MAIN = {"ruby": "1", "php": "<?php", "r": "1"}


def test_program_without_a_function_is_told_so(engine: Engine, language: str) -> None:
    seen = run(engine, language, NO_MAIN[language], mode="function")
    assert seen.end is not None
    assert (seen.end.exit_code != 0, b"must define a" in seen.stderr) == (True, True)


EMPTY = {
    "ruby": "def main = nil",
    "php": "<?php function main() { return null; }",
    "r": "main <- function() NULL",
}


def test_function_may_return_nothing(engine: Engine, language: str) -> None:
    assert run(engine, language, EMPTY[language], mode="function").result in (b"null", b"{}")


FAILS = {
    "ruby": ("def main = raise('too bad')", "/workspace/main.rb:1:in `main': too bad (RuntimeError)\n"),
    "php": ("<?php function main() { throw new Exception('too bad'); }", "too bad in /workspace/main.php:1\n"),
    "r": ("main <- function() stop('too bad')", "Error in main() : too bad\n"),
}


def test_error_of_a_function_is_the_languages_own(engine: Engine, language: str) -> None:
    code, text = FAILS[language]
    assert text in run(engine, language, code, mode="function").stderr.decode()


NOT_JSON = {
    "ruby": ("def main = { 'a' => [1, Float::NAN] }", 'NaN not allowed in JSON (main()["a"][1], a Float)\n'),
    "php": ("<?php function main() { return ['a' => [1, NAN]]; }", "encoded (main()['a'][1], float)\n"),
}


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name in NOT_JSON])
def test_result_that_is_not_json_is_found(engine: Engine, language: str) -> None:
    code, text = NOT_JSON[language]
    assert text in run(engine, language, code, mode="function").stderr.decode()
