"""What a manifest says of a language beyond its limits, and which of the shipped ones a node offers."""

from pathlib import Path

import pytest
from pytest_django import Settings

from runtimes.manifests import ManifestError, differences, load, load_all, reset_one, sync
from runtimes.models import MIB, Runner, Runtime
from seccomp_profiles import shipped

FORTH = """
slug = "forth"
name = "Forth"
image = "own/forth:1"
source_file = "main.fs"
runner = "universal"
run_command = "gforth {source}"
[limits]
memory_bytes = 536870912
[packages]
apt = ["gforth"]
[pool]
min = 0
max = 4
[[smoke]]
name = "hello"
code = "1 ."
expect = { stdout = "1" }
"""


@pytest.fixture(autouse=True)
def seeds(settings: Settings) -> None:
    settings.SEED_POOL_SIZE = 3
    settings.SEED_TIMEOUT_MS = 10_000
    settings.SEED_MEMORY_BYTES = 256 * MIB
    settings.SEED_SECCOMP = False
    settings.SEED_IMAGES = {}
    settings.BUILT_RUNTIMES = ["forth"]


@pytest.fixture
def manifest(tmp_path: Path, settings: Settings) -> Path:
    settings.BASE_DIR = tmp_path
    path = tmp_path / "images" / "forth" / "runtime.toml"
    path.parent.mkdir(parents=True)
    path.write_text(FORTH)
    return path


def synced(manifest: Path) -> Runtime:
    sync([load(manifest)])
    return Runtime.objects.get(slug="forth")


def test_row_has_the_runner_its_commands_and_what_proves_it(db: None, manifest: Path) -> None:
    row = synced(manifest)
    assert (row.runner, row.run_command, row.packages) == (
        Runner.UNIVERSAL,
        "gforth {source}",
        {"apt": ["gforth"]},
    )
    assert row.smoke == [{"name": "hello", "code": "1 .", "expect": {"stdout": "1"}}]


def test_language_without_a_function_command_has_scripts_only(db: None, manifest: Path) -> None:
    assert synced(manifest).modes == ["script"]


def test_function_command_gives_both_modes(db: None, manifest: Path) -> None:
    manifest.write_text('function_command = "gforth f.fs {source}"' + FORTH)
    assert synced(manifest).modes == ["script", "function"]


def test_memory_that_a_language_needs_outweighs_the_seed(db: None, manifest: Path) -> None:
    assert synced(manifest).memory_bytes == 512 * MIB


def test_language_on_demand_is_not_kept_warm_by_the_seed(db: None, manifest: Path) -> None:
    row = synced(manifest)
    assert (row.pool_min, row.pool_max) == (0, 4)


def test_a_version_command_is_read_and_no_part_of_the_row(manifest: Path) -> None:
    without = load(manifest)
    manifest.write_text(FORTH.replace("[limits]", 'version_command = "gforth --version"\n[limits]', 1))
    with_one = load(manifest)
    assert (without.version_command, with_one.version_command) == ("", "gforth --version")
    assert (with_one.fields, with_one.sha256) == (without.fields, without.sha256)


def test_a_version_command_is_a_string(manifest: Path) -> None:
    manifest.write_text(FORTH.replace("[limits]", "version_command = 1\n[limits]", 1))
    with pytest.raises(ManifestError, match="version_command: must be a string"):
        load(manifest)


# -- on this node or not ------------------------------------------------------------------------------------


def test_language_whose_image_is_built_is_enabled(db: None, manifest: Path) -> None:
    assert synced(manifest).enabled


def test_language_without_an_image_is_switched_off(db: None, manifest: Path, settings: Settings) -> None:
    settings.BUILT_RUNTIMES = ["python"]
    (line,) = sync([load(manifest)])
    assert not Runtime.objects.get().enabled
    assert "make build RUNTIMES=forth" in line


def test_where_nobody_told_what_is_built_the_core_set_is_enabled(db: None, settings: Settings) -> None:
    settings.BUILT_RUNTIMES = None
    sync(load_all())
    core = {m.slug for m in load_all() if m.core}
    assert {row.slug for row in Runtime.objects.enabled()} == core


def test_language_is_enabled_once_its_image_is_built(db: None, manifest: Path, settings: Settings) -> None:
    settings.BUILT_RUNTIMES = ["python"]
    synced(manifest)
    settings.BUILT_RUNTIMES = ["forth"]
    assert synced(manifest).enabled


def test_language_that_was_filtered_meanwhile_is_enabled_too(db: None, manifest: Path, settings: Settings) -> None:
    shipped.create_missing()
    settings.BUILT_RUNTIMES, settings.SEED_SECCOMP = ["python"], True
    assert synced(manifest).seccomp_profile
    settings.BUILT_RUNTIMES = ["forth"]
    assert synced(manifest).enabled


def test_language_that_an_administrator_switched_off_stays_off(db: None, manifest: Path) -> None:
    row = synced(manifest)
    row.enabled = False
    row.save()
    assert not synced(manifest).enabled


# -- what was changed ---------------------------------------------------------------------------------------


def test_differences_are_the_rows_value_and_the_manifests(db: None, manifest: Path) -> None:
    row = synced(manifest)
    row.run_command = "gforth -e {source}"
    assert differences(row) == [("run_command", "gforth -e {source}", "gforth {source}")]


def test_row_as_it_was_created_differs_in_nothing(db: None, manifest: Path) -> None:
    assert differences(synced(manifest)) == []


def test_runtime_without_a_manifest_has_no_differences_to_tell(db: None, manifest: Path) -> None:
    assert differences(Runtime(slug="cobol")) is None


def test_reset_of_one_puts_it_back_and_says_what(db: None, manifest: Path) -> None:
    row = synced(manifest)
    row.run_command = "gforth -e {source}"
    row.save()
    assert "run_command" in reset_one(row)
    row.refresh_from_db()
    assert row.run_command == "gforth {source}"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('runner = "universal"', 'runner = "magic"', "runner"),
        ('run_command = "gforth {source}"', "", "run_command: The runner universal needs a run command"),
        ('run_command = "gforth {source}"', 'run_command = "gforth \'"', "run_command: Not a command"),
        ('runner = "universal"', "", "run_command: A native runner has no commands"),
        (
            'runner = "universal"',
            'runner = "universal"\nmodes = ["function"]',
            "modes: The mode function needs a function command",
        ),
        (
            'runner = "universal"',
            'runner = "universal"\nmodes = ["script", "dance"]',
            "modes: Must be one or both",
        ),
        ('apt = ["gforth"]', 'apt = ["--yes"]', r"packages\.apt: '--yes' is not a package name"),
        ('apt = ["gforth"]', 'gem = ["x"]', r"packages\.gem: Unknown"),
        ('code = "1 ."', "code = 1", r"smoke\.0\.code"),
        ('runner = "universal"', 'core = 1\nrunner = "universal"', "core: must be true or false"),
    ],
)
def test_manifest_error_names_the_field(db: None, manifest: Path, old: str, new: str, problem: str) -> None:
    manifest.write_text(FORTH.replace(old, new))
    with pytest.raises(ManifestError, match=problem):
        synced(manifest)
