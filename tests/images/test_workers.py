"""The native workers of Ruby, PHP and R: a program notices nothing of the interpreter that waited for it."""

import pytest

from sandboxes.docker_engine import DockerEngine
from tests.images.chosen import chosen
from tests.sandboxes.guest import Seen, guest, job, spec

pytestmark = pytest.mark.needs_docker

SOURCE_FILES = {"ruby": "main.rb", "php": "main.php", "r": "main.R"}
# The others have no image here; with SANDBOX_TEST_RUNTIMES=all they have.
LANGUAGES = [manifest.slug for manifest in chosen() if manifest.slug in SOURCE_FILES]


def run(engine: DockerEngine, language: str, code: str, **fields: object) -> Seen:
    with guest(engine, spec(language)) as it:
        return it.run(job(code, **{"mode": "script", "source_file": SOURCE_FILES[language], **fields}))


MAIN_PROGRAM = {
    "ruby": ("puts __FILE__ == $0, DATA.read, ENV['A']\n__END__\nrest\n", b"true\nrest\nb\n"),
    "php": ("<?php\n$x = 1;\nfunction f() { global $x; return $x; }\necho __FILE__, f(), getenv('A');",
            b"/workspace/main.php1b"),
    "r": ("1 + 1\nx <- 3\ncat(Sys.getenv('A'), grep('^--file=', commandArgs(), value = TRUE), exists('job'))",
          b"[1] 2\nb --file=/workspace/main.R FALSE"),
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_program_is_the_main_program(engine: DockerEngine, language: str) -> None:
    code, stdout = MAIN_PROGRAM[language]
    seen = run(engine, language, code, environment={"A": "b"})
    assert (seen.stdout, seen.stderr) == (stdout, b"")


FAILS = {
    "ruby": ("def f = raise('too bad')\nf", 1),
    "php": ("<?php\nthrow new Exception('too bad');", 255),
    "r": ("stop('too bad')", 1),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_uncaught_error_is_the_languages_own_end(engine: DockerEngine, language: str) -> None:
    code, status = FAILS[language]
    seen = run(engine, language, code)
    assert seen.end is not None
    assert (seen.end.exit_code, b"too bad" in seen.stderr) == (status, True)


def test_rubys_backtrace_starts_in_the_program(engine: DockerEngine) -> None:
    assert b"worker.rb" not in run(engine, "ruby", FAILS["ruby"][0]).stderr


NO_MAIN = {"ruby": "1", "php": "<?php", "r": "1"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_program_without_a_function_is_told_so(engine: DockerEngine, language: str) -> None:
    seen = run(engine, language, NO_MAIN[language], mode="function")
    assert seen.end is not None
    assert (seen.end.exit_code != 0, b"must define a" in seen.stderr) == (True, True)


EMPTY = {
    "ruby": "def main = nil",
    "php": "<?php function main() { return null; }",
    "r": "main <- function() NULL",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_function_may_return_nothing(engine: DockerEngine, language: str) -> None:
    assert run(engine, language, EMPTY[language], mode="function").result in (b"null", b"{}")
