from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from runtimes.manifests import ManifestError, load, load_all, sync
from runtimes.models import MIB, Runtime
from seccomp_profiles import shipped
from seccomp_profiles.models import SeccompProfile

PYTHON = """
slug = "python"
name = "Python 3.13"
aliases = ["python3"]
image = "own/python:latest"
source_file = "main.py"
preload = []
preload_when_idle = ["numpy"]
[environment]
TZ = "UTC"
[limits]
processes = 64
cpus = 1.5
[pool]
min = 1
max = 6
"""


@pytest.fixture(autouse=True)
def seeds(settings) -> None:
    settings.SEED_POOL_SIZE = 2
    settings.SEED_TIMEOUT_MS = 20_000
    settings.SEED_MEMORY_BYTES = 512 * MIB
    settings.SEED_SECCOMP = False
    settings.SEED_IMAGES = {}


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str = PYTHON, slug: str = "python") -> Path:
        path = tmp_path / slug / "runtime.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def synced(path: Path, **options) -> list[str]:
    return sync([load(path)], **options)


def test_shipped_manifests_are_understood() -> None:
    assert {manifest.slug for manifest in load_all()} >= {"python", "nodejs"}


def test_shipped_manifests_make_valid_rows(db: None) -> None:
    sync(load_all())
    assert Runtime.objects.enabled().filter(slug__in=["python", "nodejs"]).count() == 2


def test_new_row_has_the_manifests_values(db: None, write) -> None:
    synced(write())
    row = Runtime.objects.get()
    assert (row.aliases, row.environment, row.processes, row.cpus) == (["python3"], {"TZ": "UTC"}, 64, 1.5)


def test_new_row_is_seeded_by_ragflows_variables(db: None, write) -> None:
    synced(write())
    row = Runtime.objects.get()
    assert (row.wall_time_ms, row.cpu_time_ms, row.memory_bytes) == (20_000, 20_000, 512 * MIB)
    assert (row.pool_min, row.pool_max) == (2, 8)


def test_small_pool_seed_keeps_the_manifests_maximum(db: None, write, settings) -> None:
    settings.SEED_POOL_SIZE = 1
    synced(write())
    assert Runtime.objects.get().pool_max == 6


def test_small_memory_shrinks_the_files(db: None, write, settings) -> None:
    settings.SEED_MEMORY_BYTES = 96 * MIB
    synced(write())
    row = Runtime.objects.get()
    assert (row.workspace_bytes, row.tmp_bytes) == (32 * MIB, 16 * MIB)


def test_sufficient_memory_leaves_the_files(db: None, write) -> None:
    synced(write())
    assert Runtime.objects.get().workspace_bytes == 100 * MIB


def test_seed_that_no_row_can_have_names_its_variable(db: None, write, settings) -> None:
    settings.SEED_MEMORY_BYTES = 32 * MIB
    with pytest.raises(ManifestError, match="SANDBOX_MAX_MEMORY"):
        synced(write())


def test_seed_image_wins(db: None, write, settings) -> None:
    settings.SEED_IMAGES = {"python": "mine/python:1"}
    synced(write())
    assert Runtime.objects.get().image == "mine/python:1"


def test_ragflows_own_image_is_refused_with_a_warning(db: None, write, settings, caplog) -> None:
    settings.SEED_IMAGES = {"python": "infiniflow/sandbox-base-python:latest"}
    synced(write())
    assert Runtime.objects.get().image == "own/python:latest"
    assert "has no runner" in caplog.text


def test_seccomp_seed_takes_the_default_profile(db: None, write, settings) -> None:
    settings.SEED_SECCOMP = True
    shipped.create_missing()
    synced(write())
    assert str(Runtime.objects.get().seccomp_profile) == "default"


def test_seccomp_that_is_switched_on_later_filters_what_has_no_profile(db: None, write, settings) -> None:
    shipped.create_missing()
    synced(write())
    settings.SEED_SECCOMP = True
    assert "filtered by the profile default" in synced(write())[0]
    assert str(Runtime.objects.get().seccomp_profile) == "default"


def test_a_runtime_that_shall_have_no_filter_keeps_none(db: None, write, settings) -> None:
    shipped.create_missing()
    synced(write())
    Runtime.objects.update(seccomp_profile=SeccompProfile.objects.get(name="unconfined"))
    settings.SEED_SECCOMP = True
    assert synced(write()) == []


def test_unchanged_manifest_is_silent(db: None, write) -> None:
    synced(write())
    assert synced(write()) == []


def test_administrators_row_is_left_alone(db: None, write) -> None:
    synced(write())
    Runtime.objects.update(processes=99)
    synced(write(PYTHON.replace("processes = 64", "processes = 80")))
    assert Runtime.objects.get().processes == 99


def test_changed_manifest_is_reported_with_the_difference(db: None, write) -> None:
    synced(write())
    (line,) = synced(write(PYTHON.replace("processes = 64", "processes = 80")))
    assert "processes: 64 → 80" in line


def test_changed_comment_is_no_change(db: None, write) -> None:
    synced(write())
    assert synced(write("# better\n" + PYTHON)) == []


def test_reset_puts_the_manifests_values_back(db: None, write) -> None:
    synced(write())
    Runtime.objects.update(processes=99, open_files=70)
    synced(write(), reset=["python"])
    row = Runtime.objects.get()
    assert (row.processes, row.open_files, row.revision) == (64, 1024, 2)


def test_reset_of_an_unchanged_row_makes_no_revision(db: None, write) -> None:
    synced(write())
    synced(write(), reset=["python"])
    assert Runtime.objects.get().revision == 1


def test_reset_of_an_unknown_runtime(db: None) -> None:
    with pytest.raises(CommandError, match="cobol"):
        call_command("sync_runtimes", reset=["cobol"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (PYTHON.replace("preload =", "preloads ="), "preloads: unknown key"),
        (PYTHON.replace("processes", "procs"), r"limits\.procs: unknown key"),
        (PYTHON.replace("min = 1", "minimum = 1"), r"pool\.minimum: unknown key"),
        (PYTHON.replace('"main.py"', "3"), "source_file: must be a string"),
        (PYTHON.replace('["python3"]', '"python3"'), "aliases: must be a list"),
        (PYTHON.replace('["python3"]', "[3]"), "aliases: must be a list"),
        (PYTHON.replace('"UTC"', "1"), r"environment\.TZ: must be a string"),
        (PYTHON.replace("= 64", "= true"), r"limits\.processes: must be a whole number"),
        (PYTHON.replace("= 64", '= "64"'), r"limits\.processes: must be a whole number"),
        (PYTHON.replace("= 1.5", '= "1"'), r"limits\.cpus: must be a whole number"),
        (PYTHON.replace("min = 1", "min = 1.5"), r"pool\.min: must be a whole number"),
        (
            PYTHON.replace("[pool]\nmin = 1\nmax = 6", 'pool = "large"').replace("[limits]", "[limits.x]"),
            "runtime",
        ),
        (PYTHON.replace('name = "Python 3.13"', ""), "name: is missing"),
        (PYTHON.replace('slug = "python"', 'slug = "py"'), "slug: must be the folder's name"),
        ("slug = ", "runtime.toml"),
    ],
)
def test_manifest_error_names_file_and_key(write, text: str, problem: str) -> None:
    with pytest.raises(ManifestError, match=problem) as raised:
        load(write(text))
    assert "runtime.toml" in str(raised.value)


def test_value_out_of_range_names_file_and_field(db: None, write) -> None:
    with pytest.raises(ManifestError, match=r"runtime\.toml: processes: .*16"):
        synced(write(PYTHON.replace("processes = 64", "processes = 3")))


def test_name_of_two_runtimes_is_refused(write, tmp_path: Path) -> None:
    write()
    write(PYTHON.replace('slug = "python"', 'slug = "pypy"'), slug="pypy")
    with pytest.raises(ManifestError, match="'python3' is taken"):
        load_all(tmp_path)
