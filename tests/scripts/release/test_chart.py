"""The chart of a release is one file that Helm reads, and the same whenever it is made."""

import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from scripts.release import chart
from tests.deploy.helm.rendering import TRIAL, program, run_helm

# As of a commit: all files of a clone are newer.
EPOCH = 1_000_000_000


def package(folder: Path, epoch: int = EPOCH) -> Path:
    program()
    folder.mkdir()
    found = chart.package(folder, "9.9.1", epoch)
    assert found
    path = folder / found["file"]
    assert found == {"file": "sandbox-platform-9.9.1.tgz", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return path


def test_times_of_the_files_do_not_change_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = package(tmp_path / "one").read_bytes()
    copy = tmp_path / "sandbox-platform"
    shutil.copytree(chart.CHART, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    monkeypatch.setattr(chart, "CHART", copy)
    assert package(tmp_path / "other").read_bytes() == one


def test_another_chart_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = package(tmp_path / "one").read_bytes()
    copy = tmp_path / "sandbox-platform"
    shutil.copytree(chart.CHART, copy)
    (copy / "values.yaml").write_text((copy / "values.yaml").read_text() + "# changed\n")
    monkeypatch.setattr(chart, "CHART", copy)
    assert package(tmp_path / "other").read_bytes() != one


def test_no_file_of_it_is_newer_than_the_commit(tmp_path: Path) -> None:
    with tarfile.open(package(tmp_path / "one", 1_000)) as tar:
        assert {entry.mtime for entry in tar} == {1_000}


def test_helm_reads_the_version_of_the_release_in_it(tmp_path: Path) -> None:
    path = package(tmp_path / "one")
    done = subprocess.run([program(), "show", "chart", path], capture_output=True, text=True, check=True)
    shown = yaml.safe_load(done.stdout)
    assert (shown["version"], shown["appVersion"]) == ("9.9.1", "9.9.1")


def test_it_installs_the_images_of_the_release(tmp_path: Path) -> None:
    done = run_helm("template", "try", str(package(tmp_path / "one")), values=TRIAL)
    assert done.returncode == 0, done.stderr
    images = {line.split()[-1].strip('"') for line in done.stdout.splitlines() if " image: " in line}
    assert {"registry.example.com/sandbox/platform:9.9.1", "registry.example.com/sandbox/agent:9.9.1"} <= images


def test_without_helm_it_is_missed_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chart.helm, "program", lambda: None)
    assert chart.package(tmp_path, "9.9.1", EPOCH) is None
    assert "NOT in this release" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_head_of_the_file_tells_no_time(tmp_path: Path) -> None:
    assert package(tmp_path / "one").read_bytes()[4:8] == bytes(4)
