import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.release import __main__ as release
from scripts.release import debian
from scripts.release.__main__ import Commit, compared, listing, refuse_others
from scripts.setup.host import SetupError


def image(digest: str = "sha256:1", **files: str) -> dict[str, Any]:
    return {"tag": "x:1", "digest": digest, "id": "sha256:2", "size": 1, "layers": [], "debian": {"a": "1"},
            "files": files}  # fmt: skip


def built(**images: dict[str, Any]) -> dict[str, Any]:
    return {"version": "9.9", "architecture": "amd64", "base": image(), "images": images, "pinned": {"f": "h"},
            "chart": {"file": "chart-9.9.tgz", "sha256": "c"}, "gvisor": {"version": "v1", "sha256": "g"}}  # fmt: skip


def test_equal_digests_are_the_same_images() -> None:
    assert compared(built(egress=image()), built(egress=image())) == {}


def test_files_that_differ_are_named() -> None:
    one = built(egress=image("sha256:1", **{"0 etc/x": "1", "0 etc/y": "1"}))
    other = built(egress=image("sha256:9", **{"0 etc/x": "2", "0 etc/y": "1", "0 etc/z": "1"}))
    assert compared(one, other) == {"egress": ["0 etc/x", "0 etc/z"]}


def test_a_difference_outside_of_the_files_is_told() -> None:
    assert compared(built(egress=image()), built(egress=image("sha256:9"))) == {"egress": ["the configuration"]}


@pytest.mark.parametrize("other", [{"file": "chart-9.9.tgz", "sha256": "d"}, None])
def test_a_chart_that_differs_is_named(other: dict[str, str] | None, capsys: pytest.CaptureFixture[str]) -> None:
    one = built(egress=image())
    different = compared(one, {**one, "chart": other})
    assert different == {"chart": ["chart-9.9.tgz"]}
    release.report(different, one)
    assert "2 of 3 parts were the same in two builds" in capsys.readouterr().out


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, and a file that is not in it."""
    root = tmp_path / "checkout"
    root.mkdir()
    monkeypatch.setattr(release, "ROOT", root)
    (root / "program").write_text("committed")
    (root / "program").chmod(0o775)
    for line in (
        ["init", "--quiet"],
        ["add", "program"],
        ["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "one"],
    ):
        subprocess.run(["git", "-C", root, *line], check=True)
    (root / "program").write_text("changed")
    (root / ".env").write_text("SECRET=1")
    return root


def test_clone_has_what_is_committed_and_nothing_else(checkout: Path, tmp_path: Path) -> None:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    (tmp_path / "clone").mkdir()
    release.clone(checkout, tmp_path / "clone", Commit(done.stdout.strip(), 1))
    files = [path for path in (tmp_path / "clone").iterdir() if path.name != ".git"]
    assert [path.name for path in files] == ["program"]
    assert files[0].read_text() == "committed"
    assert files[0].stat().st_mode & 0o777 == 0o755


def test_packages_that_the_commit_does_not_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scripts/release").mkdir(parents=True)
    lock = debian.lock_path(tmp_path, "amd64")
    lock.write_text(debian.render({"a": "1"}, "now"))
    refuse_others(built(egress=image()), tmp_path, whole=True)
    lock.write_text(debian.render({"a": "2"}, "now"))
    with pytest.raises(SetupError, match="a 1, pinned: 2"):
        refuse_others(built(egress=image()), tmp_path, whole=True)


def test_list_says_what_the_images_are_and_were_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "tools", lambda: {"docker": "26"})
    found = listing(built(egress=image(**{"0 etc/x": "1"})), Commit("abc", 5), 2)
    assert json.loads(json.dumps(found)) == {
        "version": "9.9", "commit": "abc", "source_date_epoch": 5, "architecture": "amd64", "builds_compared": 2,
        "base": {"digest": "sha256:1", "id": "sha256:2", "size": 1, "layers": [], "debian": {"a": "1"}},
        "images": {
            "egress": {"tag": "x:1", "digest": "sha256:1", "id": "sha256:2", "size": 1, "layers": [],
                       "debian": {"a": "1"}},
        },
        "chart": {"file": "chart-9.9.tgz", "sha256": "c"}, "gvisor": {"version": "v1", "sha256": "g"},
        "inputs": {"f": "h"}, "tools": {"docker": "26"},
    }  # fmt: skip


def test_a_difference_fails_and_tags_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    builds = [built(egress=image()), built(egress=image("sha256:9", x="1"))]
    monkeypatch.setattr(release, "head", lambda: Commit("abc", 5))
    monkeypatch.setattr(release, "is_running", lambda: True)
    monkeypatch.setattr(release, "build", lambda source, folder, commit, options: builds.pop(0))
    monkeypatch.setattr(release, "write", lambda *_: pytest.fail("written"))
    assert release.release(release.parse(["--check"])) == 1
    said = capsys.readouterr().out
    assert "DIFFERENT  egress" in said
    assert "2 of 3 parts were the same in two builds" in said


def test_second_build_is_of_the_first_s_clone_because_the_checkout_may_move_on(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = []

    def build(source: Path, folder: Path, commit: Commit, options: object) -> dict[str, Any]:
        sources.append(source)
        (folder / "clone").mkdir()
        release.clone(source, folder / "clone", commit)
        subprocess.run(
            ["git", "-C", checkout, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet",
             "--amend", "--message", "two"],
            check=True,
        )  # fmt: skip
        return built(egress=image())

    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    monkeypatch.setattr(release, "head", lambda: Commit(head.stdout.strip(), 5))
    monkeypatch.setattr(release, "is_running", lambda: True)
    monkeypatch.setattr(release, "build", build)
    monkeypatch.setattr(release, "refuse_others", lambda *_, **__: None)
    assert release.release(release.parse(["--check", "--only", "egress"])) == 0
    assert sources[0] == checkout


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the release before has left."""
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "sandbox-platform-9.9.tgz").write_text("of an earlier build")
    monkeypatch.setattr(release, "DIST", folder)
    monkeypatch.setattr(release, "tools", dict)
    (tmp_path / "images").mkdir()
    return folder


def test_chart_is_a_file_of_the_release_beside_the_images(dist: Path, tmp_path: Path) -> None:
    found = built()
    found["chart"]["file"] = "sandbox-platform-9.9.tgz"
    (tmp_path / "images/sandbox-platform-9.9.tgz").write_text("chart")
    release.write(tmp_path, found, Commit("abc", 5), 1)
    assert sorted(path.name for path in dist.iterdir()) == [
        "sandbox-platform-9.9", "sandbox-platform-9.9.json", "sandbox-platform-9.9.tgz",
    ]  # fmt: skip
    assert (dist / "sandbox-platform-9.9.tgz").read_text() == "chart"
    assert list((dist / "sandbox-platform-9.9").iterdir()) == []


def test_no_chart_of_an_earlier_build_is_left(dist: Path, tmp_path: Path) -> None:
    path = release.write(tmp_path, {**built(), "chart": None}, Commit("abc", 5), 1)
    assert not (dist / "sandbox-platform-9.9.tgz").exists()
    assert json.loads(path.read_text())["chart"] is None


@pytest.mark.parametrize(
    ("chart", "said"), [({"file": "x.tgz"}, "dist/x.tgz is the chart"), (None, "NOT in this release")]
)
def test_last_line_says_whether_there_is_a_chart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], chart: dict[str, str] | None, said: str
) -> None:
    monkeypatch.setattr(release, "head", lambda: Commit("abc", 5))
    monkeypatch.setattr(release, "is_running", lambda: True)
    monkeypatch.setattr(release, "build", lambda *_: {**built(egress=image()), "chart": chart})
    monkeypatch.setattr(release, "refuse_others", lambda *_, **__: None)
    monkeypatch.setattr(release, "write", lambda *_: release.ROOT / "dist/x.json")
    monkeypatch.setattr(release, "tag", lambda *_: None)
    assert release.release(release.parse([])) == 0
    assert said in capsys.readouterr().out.splitlines()[-1]
