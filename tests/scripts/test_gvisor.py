import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes.gvisor import FILTERS, is_current
from scripts.setup import gvisor, gvisor_sources
from scripts.setup.host import SetupError

OLD, CURRENT, NEWER = "0.0~20240729.0", "release-20980106.0", "release-20990105.0"
PLAIN = "v0.0.0-20990105035102-160fafc42237"  # a build of the Go module


def make_runsc(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "runsc"
    path.write_text(f"#!/bin/sh\necho 'runsc version {version}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without gVisor, on which no source answers."""
    monkeypatch.setattr(gvisor, "FOLDER", tmp_path / "gvisor")
    monkeypatch.setattr(gvisor, "LAUNCHER", tmp_path / "runsc")
    monkeypatch.setattr(gvisor, "DAEMON_JSON", tmp_path / "daemon.json")
    monkeypatch.setattr(gvisor, "SOURCES", ())
    monkeypatch.setattr(gvisor, "on_path", lambda name: [])
    return tmp_path


def register(machine: Path, *paths: Path) -> None:
    runtimes = {f"runtime{number}": {"path": str(path)} for number, path in enumerate(paths)}
    (machine / "daemon.json").write_text(json.dumps({"runtimes": runtimes}))


def source(version: str) -> gvisor_sources.Source:
    def provide(folder: Path) -> None:
        make_runsc(folder, version)

    return provide


def refusing(folder: Path) -> None:
    raise SetupError("a source", "not reachable", "make")


def untouched(folder: Path) -> None:
    raise AssertionError("must not be asked")


# --- Which one ---


def test_what_is_registered_and_current_is_kept(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gvisor, "SOURCES", (untouched,))
    theirs = make_runsc(machine / "opt", CURRENT)
    register(machine, theirs)
    assert gvisor.ensure() == theirs


def test_what_is_installed_and_current_is_used_again(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gvisor, "SOURCES", (untouched,))
    register(machine, make_runsc(machine / "old", OLD))
    ours = make_runsc(machine / "gvisor" / CURRENT, CURRENT)
    assert gvisor.ensure() == ours


def test_one_that_compiles_its_filters_at_each_start_is_renewed(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = make_runsc(machine / "gvisor" / PLAIN, PLAIN)
    register(machine, slow)
    monkeypatch.setattr(gvisor, "SOURCES", (source(PLAIN + FILTERS),))
    assert gvisor.ensure() == machine / "gvisor" / (PLAIN + FILTERS) / "runsc"


def test_one_that_compiles_its_filters_at_each_start_is_better_than_an_old_one(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gvisor, "SOURCES", (refusing,))
    old, slow = make_runsc(machine / "old", OLD), make_runsc(machine / "gvisor" / PLAIN, PLAIN)
    register(machine, old)
    assert gvisor.ensure() == slow


def test_an_old_one_is_renewed_beside_it(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gvisor, "SOURCES", (source(CURRENT), untouched))
    old = make_runsc(machine / "usr/bin", OLD)
    register(machine, old)
    assert gvisor.ensure() == machine / "gvisor" / CURRENT / "runsc"
    assert old.exists()


def test_the_next_source_is_asked_when_one_fails(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gvisor, "SOURCES", (refusing, source(OLD), source(CURRENT)))
    assert gvisor.ensure() == machine / "gvisor" / CURRENT / "runsc"


def test_an_old_one_is_the_last_resort(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gvisor, "SOURCES", (refusing,))
    old = make_runsc(machine / "usr/bin", OLD)
    register(machine, old)
    assert gvisor.ensure() == old


def test_the_distributions_package_is_installed_where_there_is_none(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gvisor, "SOURCES", (refusing,))
    monkeypatch.setattr(gvisor_sources, "from_distribution", lambda: make_runsc(machine / "usr/bin", OLD))
    assert gvisor.ensure() == machine / "usr/bin/runsc"


def test_what_lies_beside_runsc_is_installed_with_it(machine: Path) -> None:
    make_runsc(machine / "new", CURRENT)
    make_runsc(machine / "new/gvisor-bin", CURRENT)
    installed = gvisor.install(machine / "new")
    assert (installed.parent / "gvisor-bin/runsc").exists()
    assert [path.name for path in (machine / "gvisor").iterdir()] == [CURRENT]


def test_a_broken_configuration_of_docker_is_named(machine: Path) -> None:
    (machine / "daemon.json").write_text("{")
    with pytest.raises(SetupError, match="not valid JSON"):
        gvisor.ensure()


# --- Which ones are removed ---


@pytest.fixture
def sleeper(machine: Path) -> Iterator[Path]:
    """A version that a process runs."""
    folder = machine / "gvisor" / CURRENT
    folder.mkdir(parents=True)
    path = Path(shutil.copy("/bin/sleep", folder / "runsc"))
    process = subprocess.Popen([path, "60"])
    yield path
    process.kill()
    process.wait()


def test_a_version_that_a_process_runs_stays(machine: Path, sleeper: Path) -> None:
    newer = make_runsc(machine / "gvisor" / NEWER, NEWER)
    unused = make_runsc(machine / "gvisor" / OLD, OLD)
    register(machine, newer)
    assert gvisor.remove_unused() == [OLD]
    assert (sleeper.exists(), newer.exists(), unused.parent.exists()) == (True, True, False)


def test_the_launcher_goes_when_no_other_runsc_runs(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "runsc").touch()
    register(machine, make_runsc(machine / "gvisor" / NEWER, NEWER))
    running = subprocess.CompletedProcess([], 0, f"/usr/bin/python3\n{machine}/gvisor/{NEWER}/runsc\n", "")
    real = gvisor.run
    monkeypatch.setattr(gvisor, "run", lambda line, **kw: running if line[0] == "sh" else real(line, **kw))
    assert gvisor.remove_unused() == ["runsc"]


def test_the_launcher_stays_while_what_it_started_runs(machine: Path, tmp_path: Path) -> None:
    (machine / "runsc").touch()
    elsewhere = tmp_path / "usr/bin"
    elsewhere.mkdir(parents=True)
    process = subprocess.Popen([shutil.copy("/bin/sleep", elsewhere / "runsc"), "60"])
    assert gvisor.remove_unused() == []
    process.kill()
    process.wait()


# --- The pin ---


def test_pinned_version_is_current() -> None:
    assert is_current(gvisor_sources.pinned_version())


def test_every_pinned_module_has_its_hash() -> None:
    hashes = (gvisor_sources.MODULE / "go.sum").read_text()
    assert f"gvisor.dev/gvisor {gvisor_sources.pinned_version()} h1:" in hashes
