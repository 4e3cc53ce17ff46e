"""Helm for the tests of the chart: found, built, or told to be missing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup import helm
from scripts.setup.host import SetupError

MakeHelm = Callable[[str], Path]


@pytest.fixture
def make_helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeHelm:
    """Return a function that puts a Helm of a version into PATH. Ours is not there."""
    monkeypatch.setattr(helm, "FOLDER", tmp_path / "ours")
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(version: str) -> Path:
        path = folder / "helm"
        path.write_text(f"#!/bin/sh\necho 'v{version}+g0b2c3d'\n")
        path.chmod(0o755)
        return path

    return make


def cannot_build() -> None:
    raise SetupError("building Helm", "no module proxy", "make test")


def test_one_of_the_machine_is_used_if_it_is_recent_enough(make_helm: MakeHelm) -> None:
    make_helm("3.9.4")
    assert helm.program() is None
    recent = make_helm("3.18.0")
    assert helm.program() == recent


def test_ours_comes_first(make_helm: MakeHelm) -> None:
    built = make_helm(helm.VERSION)
    helm.install(built)
    ours = helm.FOLDER / helm.VERSION / "helm"
    assert helm.program() == ours
    assert ours.read_bytes() == built.read_bytes()


def test_what_is_there_is_not_built(make_helm: MakeHelm, monkeypatch: pytest.MonkeyPatch) -> None:
    make_helm("4.0.0")
    monkeypatch.setattr(helm, "build", cannot_build)
    helm.ensure()


def test_without_helm_tests_are_skipped_with_a_word(
    make_helm: MakeHelm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_helm("2.0.0")
    monkeypatch.setattr(helm, "build", cannot_build)
    monkeypatch.delenv("CI", raising=False)
    helm.ensure()
    assert "will be skipped: building Helm failed" in capsys.readouterr().out


def test_ci_does_not_go_on_without_helm(make_helm: MakeHelm, monkeypatch: pytest.MonkeyPatch) -> None:
    make_helm("2.0.0")
    monkeypatch.setattr(helm, "build", cannot_build)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(SetupError):
        helm.ensure()
