"""Which gVisor is in the images of a release, and how it gets there."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sandboxes.gvisor import FILTERS
from scripts.release import runsc
from scripts.setup.host import SetupError

VERSION = "v0.0.0-20990105035102-160fafc42237"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with another gVisor than the commit names, on which the module can be built."""
    folder = tmp_path / "gvisor"
    monkeypatch.setattr(runsc.gvisor, "FOLDER", folder)
    monkeypatch.setattr(runsc.gvisor_sources, "pinned_version", lambda: VERSION)
    monkeypatch.setattr(runsc.gvisor_sources, "from_module", lambda folder: installed(folder))
    monkeypatch.setattr(runsc.gvisor, "install", lambda made: (made / "runsc").rename(folder / "runsc"))
    installed(folder / "release-20990301.0")
    return folder


def installed(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "runsc").write_text("#!/bin/sh\n")
    return folder / "runsc"


def forbidden(what: str) -> Callable[..., None]:
    return lambda *_: pytest.fail(what)


def test_version_of_the_commit_is_taken_even_if_a_newer_one_is_here(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runsc.gvisor_sources, "from_module", forbidden("built"))
    pinned = installed(machine / f"{VERSION}{FILTERS}")
    assert runsc.pinned() == pinned


def test_version_of_the_commit_is_built_if_it_is_not_here(machine: Path) -> None:
    assert runsc.pinned() == machine / "runsc"


def test_a_gvisor_that_cannot_be_built_ends_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path) -> None:
        raise SetupError("building gVisor", "no module proxy answers", "make the proxy reachable")

    monkeypatch.setattr(runsc.gvisor_sources, "from_module", fails)
    with pytest.raises(SetupError, match="no module proxy"):
        runsc.pinned()


def test_a_build_gets_nothing_of_this_machine_but_the_program(machine: Path) -> None:
    here = installed(machine / "x")
    (machine / "x/containerd-shim-runsc-v1").write_text("of Docker's")
    with runsc.copied(here, 1_700_000_000) as folder:
        (copy,) = folder.iterdir()
        assert (copy.name, copy.read_bytes(), copy.stat().st_mtime) == ("runsc", here.read_bytes(), 1_700_000_000)
        assert copy.stat().st_mode & 0o777 == 0o755
    assert not folder.exists()


def test_list_of_a_release_has_version_and_hash(machine: Path) -> None:
    here = installed(machine / VERSION)
    digest = hashlib.sha256(here.read_bytes()).hexdigest()
    assert runsc.described(here) == {"version": VERSION, "sha256": digest}
