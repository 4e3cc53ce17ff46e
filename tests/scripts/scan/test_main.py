"""Which images are looked at, and what is said of those that are not there."""

import subprocess
from pathlib import Path

import pytest

from scripts.release import building
from scripts.scan import __main__ as scan
from scripts.scan.inventory import Inventory, Package
from scripts.scan.vulnerabilities import Hole

STACK = [f"{scan.PREFIX}{name}:latest" for name in scan.STACK]


def missing(*images: str) -> scan.Report:
    report = scan.Report()
    scan.note_missing(report, images)
    return report


def test_images_that_only_kubernetes_needs_are_named_if_they_are_not_built() -> None:
    lines = "\n".join(missing(*STACK).lines())
    for name in ("agent", "builder"):
        assert (
            f"NOT BUILT   {name}, so nothing is known of it: only for Kubernetes: make build KUBERNETES=yes"
            in lines
        )


def test_an_installation_that_does_not_need_them_is_clean() -> None:
    assert missing(*STACK).status == scan.CLEAN


def test_nothing_is_said_of_images_that_are_built() -> None:
    report = missing(*STACK, *(f"{scan.PREFIX}{name}:latest" for name in scan.ON_REQUEST))
    assert (report.not_built, report.not_looked) == ({}, {})


def test_an_image_of_the_stack_that_is_not_built_is_not_clean() -> None:
    report = missing(*STACK[1:])
    assert (list(report.not_looked), report.status) == (["platform"], scan.NOT_LOOKED)


def test_a_machine_without_any_image_is_one_line() -> None:
    report = missing()
    assert (list(report.not_looked), report.not_built) == (["images"], {})


def test_every_image_of_a_release_but_the_languages_is_expected() -> None:
    every = {*building.images_of_the_base("core"), *building.MADE_OF}
    assert {name for name in every if not name.startswith("runtime-")} == {*scan.STACK, *scan.ON_REQUEST}


def test_agent_s_image_is_looked_at_with_its_gvisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Inventory({Package("generic", "gvisor", "release-20260101.0")})
    monkeypatch.setattr(scan, "images", lambda: [f"{scan.PREFIX}agent:latest"])
    monkeypatch.setattr(scan.inventory, "of_image", lambda image: held)
    monkeypatch.setattr(scan, "docker", lambda *words: subprocess.CompletedProcess(words, 0, "sha256:1\n"))
    monkeypatch.setattr(scan.sbom, "write", lambda path, *_: path.write_text("{}"))
    monkeypatch.setattr(scan.vulnerabilities, "of_requirements", lambda path: [])
    monkeypatch.setattr(scan.vulnerabilities, "of_debian", lambda *_: [Hole("agent", "a", "CVE-1", "")])
    report = scan.scan(tmp_path)
    assert (report.lists, "agent" in report.not_built) == (["agent.cdx.json"], False)
    assert [hole.id for hole in report.holes] == ["CVE-2026-96812", "CVE-1"]
